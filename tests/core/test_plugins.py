# SPDX-License-Identifier: Apache-2.0
import importlib
import sys
import types

import pytest

from conjoin.core import plugins


@pytest.fixture
def announced(monkeypatch):
    """Replace the installed plugins by modules of the test."""

    def announce(**modules):
        found = []
        for name, module in modules.items():
            path = f"fake_{name}"
            if module is not None:
                made = types.ModuleType(path)
                for key, value in module.items():
                    setattr(made, key, value)
                made.__all__ = tuple(module)
                monkeypatch.setitem(sys.modules, path, made)
            found.append(plugins.Plugin(name, path, f"dist-{name}"))
        monkeypatch.setattr(plugins, "plugins", lambda: tuple(found))
        plugins.load.cache_clear()

    yield announce
    plugins.load.cache_clear()


def test_core_announces_itself():
    assert plugins.Plugin("core", "conjoin.core", "conjoin") in plugins.plugins()


def test_a_broken_plugin_is_a_named_warning(announced):
    announced(good={"Encoder": type("Encoder", (), {})}, broken=None)
    with pytest.warns(UserWarning, match=r"'broken' \(dist-broken, module fake_broken\)"):
        modules = plugins.load()
    assert [module.__name__ for module in modules] == ["fake_good"]


def test_one_name_for_two_classes_names_both(announced):
    announced(one={"Same": type("Same", (), {})}, two={"Same": type("Same", (), {})})
    with pytest.raises(plugins.PluginError, match=r"Same: fake_one and fake_two"):
        plugins.load()


def test_one_class_exported_twice_is_fine(announced):
    same = type("Same", (), {})
    announced(one={"Same": same}, two={"Same": same})
    assert plugins.short_names() == {"Same": same}


def test_installed_plugins_have_unique_names():
    assert "JEPA" in plugins.short_names()


def test_a_class_of_an_absent_package_names_the_extra(announced):
    announced(core={"JEPA": type("JEPA", (), {})})
    assert plugins.install_hint("IJEPA") == 'install it with `pip install "conjoin[vision]"`'
    assert plugins.install_hint("conjoin.audio.AJEPA") == 'install it with `pip install "conjoin[audio]"`'


def test_a_misspelt_class_names_the_nearest(announced):
    announced(vision={"IJEPA": type("IJEPA", (), {})})
    assert plugins.install_hint("IJEPPA") == "did you mean IJEPA?"
    assert "full path" in plugins.install_hint("Qqqqq")


def test_the_table_of_known_classes_is_true():
    installed = {plugin.name: plugin.module for plugin in plugins.plugins()}
    for extra, names in plugins.KNOWN.items():
        if extra in installed:
            module = importlib.import_module(installed[extra])
            exported = {name for name in module.__all__ if isinstance(getattr(module, name), type)}
            assert names == exported

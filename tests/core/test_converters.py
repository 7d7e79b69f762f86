# SPDX-License-Identifier: Apache-2.0
import types

from conjoin.core import plugins
from conjoin.core.converters import Converter, converters


def test_core_offers_safetensors_and_plugins_the_rest(monkeypatch):
    copy = Converter("tape", "disc", "Any", lambda source, target: target.write_text(source.read_text()))
    with_one, without = types.ModuleType("with_one"), types.ModuleType("without")
    with_one.CONVERTERS = (copy,)
    monkeypatch.setattr(plugins, "load", lambda: (with_one, without))
    own, foreign = converters()
    assert (own.source, own.target, own.system) == ("conjoin", "safetensors", "any")
    assert foreign is copy


def test_no_two_installed_converters_are_for_the_same():
    offered = [(item.source, item.target, item.system) for item in converters()]
    assert len(set(offered)) == len(offered)
    assert ("official", "conjoin", "IJEPA") in offered or not any(
        plugin.name == "vision" for plugin in plugins.plugins()
    )

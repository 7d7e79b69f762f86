# SPDX-License-Identifier: Apache-2.0
"""Public names as a user meets them: importable, documented, unique over the ecosystem."""

import importlib
import importlib.metadata
import inspect
import pkgutil
from collections import defaultdict
from types import ModuleType

import pytest
from lightning.pytorch import Callback

import conjoin
from conjoin.core import JointEmbedding
from conjoin.core.data import DataModule
from conjoin.core.masking import MaskSampler

PACKAGES = sorted(
    module.name
    for module in pkgutil.walk_packages(conjoin.__path__, "conjoin.", onerror=lambda name: None)
    if module.ispkg
)


def public(module: ModuleType) -> list[tuple[str, object]]:
    return [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert isinstance(getattr(module, "__all__", ()), tuple), f"{name}.__all__ is a tuple"
    assert len(set(getattr(module, "__all__", ()))) == len(getattr(module, "__all__", ())), (
        f"{name} repeats a name"
    )
    for attribute, value in public(module):
        if inspect.isclass(value) or inspect.isroutine(value):
            doc = value.__doc__ if not inspect.isclass(value) else vars(value).get("__doc__")
            # A dataclass without a docstring is given its signature as one.
            assert doc, f"{name}.{attribute} has no docstring"
            assert not doc.startswith(f"{attribute}("), f"{name}.{attribute} has no docstring"


def test_short_class_names_are_unique() -> None:
    """``conjoin fit --model NAME`` must mean one class, whatever packages are installed.

    Layers and schedules may share a name: the command line never has to choose between them.
    """
    built = (JointEmbedding, DataModule, MaskSampler, Callback)
    homes = defaultdict(set)
    for package in PACKAGES:
        for attribute, value in public(importlib.import_module(package)):
            if inspect.isclass(value) and issubclass(value, built):
                homes[attribute].add(value)
    repeated = {name: found for name, found in homes.items() if len(found) > 1}
    assert homes["JEPA"]
    assert not repeated


def test_nothing_is_registered_globally() -> None:
    """Installing conjoin must not change anybody's ``Trainer()``: the only entry points are ours."""
    for name in ("conjoin", "conjoin-vision", "conjoin-samples"):
        groups = {entry.group for entry in importlib.metadata.distribution(name).entry_points}
        assert groups <= {"conjoin.plugins", "console_scripts"}, f"{name} registers {groups}"


def test_plugins_are_announced() -> None:
    found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="conjoin.plugins")}
    assert found["core"] == "conjoin.core"
    assert found["vision"] == "conjoin.vision"
    for value in found.values():
        importlib.import_module(value.split(":")[0])

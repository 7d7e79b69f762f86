# SPDX-License-Identifier: Apache-2.0
"""Specs: what can be described, what may be built, and under which name."""

import dataclasses
import sys

import pytest
from torch import nn

from conjoin.core import spec
from conjoin.core.masking import MultiBlockMask
from conjoin.core.optim import Optim
from conjoin.core.spec import SelfDescribing, SpecError, build, class_path, describe, is_spec, plain, resolve


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"class_path": "subprocess.Popen", "init_args": {"args": "true"}}, "not a class that describes"),
        ({"class_path": "antigravity.X"}, "not imported here"),
        ({"class_path": "conjoin.core.NoSuchThing"}, "no class conjoin.core.NoSuchThing"),
        ({"class_path": "conjoin.nowhere.X"}, "cannot be imported"),
        ({"class_path": "os.system", "init_args": {"command": "true"}}, "no class os.system"),
    ],
)
def test_build_refuses(spec, match):
    with pytest.raises(SpecError, match=match):
        build(spec)


class Pair(SelfDescribing):
    def __init__(self, first: int, second: tuple[int, ...] = (1, 2), **rest: str) -> None:
        self.made = (first, second, rest)


class Lot(SelfDescribing):
    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers


class Outer:
    @dataclasses.dataclass
    class Inner:
        value: int = 3


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """pytest's importlib mode leaves test modules out of sys.modules."""
    module = type(sys)(Pair.__module__)
    module.Pair = Pair
    monkeypatch.setitem(sys.modules, Pair.__module__, module)


def test_arguments_with_defaults_and_free_keywords():
    spec = {"class_path": f"{Pair.__module__}.Pair", "init_args": {"first": 1, "second": (1, 2), "note": "x"}}
    assert describe(Pair(1, note="x")) == spec
    assert build(spec).made == (1, (1, 2), {"note": "x"})


def test_lists_become_tuples_where_the_constructor_says_so():
    made = build({"class_path": f"{Pair.__module__}.Pair", "init_args": {"first": 1, "second": [3, 4]}})
    assert made.made[1] == (3, 4)


def test_positional_arguments_without_names_cannot_be_described():
    assert describe(Lot())["init_args"] == {}
    with pytest.raises(SpecError, match=r"arguments \*numbers have no names"):
        describe(Lot(1, 2))


def test_wrong_arguments_are_reported_by_the_constructor():
    with pytest.raises(TypeError, match="unexpected keyword argument 'numbers'"):
        Lot(numbers=1)


def test_what_is_neither_plain_nor_described_is_named():
    for value in (nn.Linear(1, 1), object(), {"a": nn.ReLU()}):
        with pytest.raises(SpecError, match="is not a plain value"):
            describe(value)


def test_nested_dataclasses_are_specs_of_their_fields():
    found = describe(Optim(lr=0.5))
    assert found["class_path"] == "conjoin.core.optim.Optim"
    assert found["init_args"]["lr"] == 0.5
    assert build(found) == Optim(lr=0.5)
    masks = MultiBlockMask(targets=2)
    assert build(describe(masks)) == masks


def test_the_class_path_is_the_shortest_public_one():
    from conjoin.core.masking.multi_block import MultiBlockMask as Same
    from conjoin.core.methods.jepa import JEPA

    assert class_path(Same) == "conjoin.core.masking.MultiBlockMask"
    assert class_path(JEPA) == "conjoin.core.JEPA"
    assert resolve("conjoin.core.JEPA") is JEPA
    assert class_path(Outer.Inner).endswith("Outer.Inner")


def test_a_foreign_module_is_imported_for_those_who_trust_it_only(tmp_path, monkeypatch):
    (tmp_path / "stranger_danger.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError, match=r"is not imported here.*--trust"):
        resolve("stranger_danger.Thing")
    assert "stranger_danger" not in sys.modules
    assert resolve("stranger_danger.Thing", trust=True).__name__ == "Thing"
    # Now imported, but still nothing that a file may call.
    with pytest.raises(SpecError, match="not a class that describes itself"):
        resolve("stranger_danger.Thing")
    del sys.modules["stranger_danger"]


def test_what_a_spec_is():
    assert is_spec({"class_path": "a.B"})
    assert is_spec({"class_path": "a.B", "init_args": {}})
    assert not is_spec({"class_path": "a.B", "other": 1})
    assert not is_spec({"init_args": {}})
    assert not is_spec("a.B")


def test_plain_copies_deeply():
    value = {"a": [1, (2, {"b": [3]})]}
    copied = plain(value)
    assert copied == value
    copied["a"][1][1]["b"].append(4)
    assert value["a"][1][1]["b"] == [3]


def test_the_module_needs_neither_torch_nor_lightning():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(spec.__file__).read_text())
    found = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert {"dataclasses", "inspect"} <= found
    assert not found & {"torch", "lightning"}

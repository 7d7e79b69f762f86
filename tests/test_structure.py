# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/architecture.md about files and imports, read from the source itself."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    path.parent.name: path.parent for path in sorted((ROOT / "packages").glob("*/src/conjoin/*/__init__.py"))
}
FILES = {
    path.relative_to(PACKAGES[name].parent.parent): path
    for name, folder in PACKAGES.items()
    for path in sorted(folder.rglob("*.py"))
}

# May be imported by each modality package, beside itself.
SHARED = {"core", "samples"}
# Parts of core that are plain torch.
WITHOUT_LIGHTNING = ("objectives", "masking", "nn", "metrics", "random", "optim")
# What each part of core may import of core; parts that are absent here are free, without cycles.
ARROWS = {
    "random": set(),
    "distributed": set(),
    "spec": set(),
    "objectives": {"random", "distributed", "spec"},
    "masking": {"random", "distributed", "spec"},
    "nn": {"random", "distributed", "spec"},
    "metrics": {"random", "distributed", "spec"},
    "optim": {"random", "distributed", "spec"},
    "transforms": {"random", "distributed", "spec"},
    "data": {"random", "distributed", "spec"},
    "callbacks": {
        "data",
        "distributed",
        "evaluation",
        "metrics",
        "nn",
        "objectives",
        "optim",
        "random",
        "spec",
    },
    "methods": {
        *("callbacks", "checkpoint", "data", "distributed", "evaluation", "masking", "metrics"),
        *("nn", "objectives", "optim", "random", "spec", "transforms"),
    },
}
# Source files without a test file of their own, each with its reason.
UNMIRRORED: dict[str, str] = {}


def imports(path: Path, *, when_run: bool = False) -> Iterator[tuple[str, int]]:
    """Dotted names that a file imports, with the line; ``when_run``: only what importing the file imports."""
    stack: list[ast.AST] = [ast.parse(path.read_text())]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            # `from conjoin.core import random` names a module: keep both readings.
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif when_run and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif when_run and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
        else:
            stack += ast.iter_child_nodes(node)


def test_the_rules_see_every_package() -> None:
    assert {"core", "vision", "samples"} <= set(PACKAGES)
    assert {path.name for path in (ROOT / "packages").iterdir() if path.is_dir()} == set(PACKAGES)
    assert len(FILES) > 30


def test_namespace_has_no_init() -> None:
    assert not list(ROOT.glob("packages/*/src/conjoin/__init__.py"))
    assert not list(ROOT.glob("packages/*/src/conjoin/py.typed"))
    for folder in PACKAGES.values():
        assert (folder / "py.typed").is_file(), f"{folder} is not marked as typed"
        assert (folder / "__init__.py").is_file()


@pytest.mark.parametrize("name", [*map(str, FILES)])
def test_file_is_small_and_marked(name: str) -> None:
    lines = FILES[Path(name)].read_text().splitlines()
    assert len(lines) <= 500, f"{name} has {len(lines)} lines: split it by idea"
    assert lines, f"{name} is empty"
    assert lines[0] == "# SPDX-License-Identifier: Apache-2.0", f"{name}: the first line is the licence"
    assert ast.get_docstring(ast.parse("\n".join(lines))), f"{name} has no module docstring"


@pytest.mark.parametrize("folder", ["tests", "examples", "benchmarks", "tools"])
def test_other_python_files_are_marked(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text()
        assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n"), path
        assert len(text.splitlines()) <= 500, path


@pytest.mark.parametrize("name", [*map(str, FILES)])
def test_packages_depend_one_way(name: str) -> None:
    package = Path(name).parts[1]
    allowed = {package} if package in SHARED else {package, *SHARED}
    for target, line in imports(FILES[Path(name)]):
        if target.startswith("conjoin."):
            assert target.split(".")[1] in allowed, f"{name}:{line}: {package} must not import {target}"


@pytest.mark.parametrize("part", WITHOUT_LIGHTNING)
def test_plain_parts_know_nothing_of_lightning(part: str) -> None:
    found = [path for path in FILES if path.parts[1] == "core" and path.parts[2].removesuffix(".py") == part]
    assert found, f"conjoin.core.{part} is gone: mend WITHOUT_LIGHTNING"
    for path in found:
        for target, line in imports(FILES[path]):
            top = target.split(".")[0]
            assert top not in {"lightning", "pytorch_lightning", "lightning_fabric"}, (
                f"{path}:{line}: imports {target}"
            )


def core_graph() -> dict[str, dict[str, str]]:
    """Which part of core imports which when it is imported, with one place as evidence."""
    parts = {path.parts[2].removesuffix(".py") for path in FILES if path.parts[1] == "core"} - {"__init__"}
    graph: dict[str, dict[str, str]] = {part: {} for part in parts}
    for path, file in FILES.items():
        part = path.parts[2].removesuffix(".py")
        if path.parts[1] != "core" or part == "__init__":
            continue
        for target, line in imports(file, when_run=True):
            names = target.split(".")
            if names[:2] == ["conjoin", "core"] and len(names) > 2 and names[2] in parts - {part}:
                graph[part].setdefault(names[2], f"{path}:{line}")
    return graph


def test_parts_of_core_depend_as_the_architecture_says() -> None:
    graph = core_graph()
    assert set(ARROWS) <= set(graph), f"{set(ARROWS) - set(graph)} is gone: mend ARROWS"
    wrong = [
        f"{place}: {part} imports {target}"
        for part, targets in graph.items()
        for target, place in targets.items()
        if part in ARROWS and target not in ARROWS[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_of_core_have_no_cycle() -> None:
    graph = core_graph()
    done: set[str] = set()
    while left := set(graph) - done:
        free = {part for part in left if set(graph[part]) <= done}
        assert free, "a cycle among " + "; ".join(
            f"{part} -> {target} ({place})"
            for part in sorted(left)
            for target, place in graph[part].items()
            if target in left
        )
        done |= free


def test_every_source_file_has_a_mirror_test() -> None:
    """``core/nn/block.py`` is tested by ``tests/core/nn/test_block.py`` or several ``test_block_*.py``."""
    missing, excused = [], []
    for path in FILES:
        if path.name == "__init__.py":
            continue
        folder, stem = ROOT / "tests" / Path(*path.parts[1:-1]), path.stem.removeprefix("_")
        present = any(
            file.is_file() for file in (folder / f"test_{stem}.py", *folder.glob(f"test_{stem}_*.py"))
        )
        if str(path) in UNMIRRORED:
            excused += [str(path)] if present else []
        elif not present:
            missing.append(f"{path} has no tests/{Path(*path.parts[1:-1])}/test_{stem}.py")
    assert not missing, "\n".join(missing)
    assert not excused, f"{excused} have tests now: take them out of UNMIRRORED"


def test_exceptions_are_about_existing_files() -> None:
    assert set(UNMIRRORED) <= set(map(str, FILES))


def test_tests_are_no_packages() -> None:
    """With importlib mode an ``__init__.py`` under tests would make equal file names collide."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def public_names() -> dict[str, list[str]]:
    """``__all__`` of every package folder, read without importing."""
    found = {}
    for path, file in FILES.items():
        if path.name != "__init__.py":
            continue
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                assert isinstance(node.value, ast.Tuple), f"{path}: __all__ is a tuple of names"
                found[".".join(path.parent.parts)] = sorted(ast.literal_eval(node.value))
    return found


INVENTORY = Path(__file__).with_name("public_names.json")


def test_no_public_name_disappears() -> None:
    """Removing a name breaks other people's imports: edit the inventory and say so in CHANGELOG.md."""
    present = public_names()
    for module, names in json.loads(INVENTORY.read_text()).items():
        missing = set(names) - set(present.get(module, ()))
        assert not missing, (
            f"{module} no longer offers {sorted(missing)}; if that is meant, edit {INVENTORY.name}"
        )


if __name__ == "__main__":  # records additions: python tests/test_structure.py
    INVENTORY.write_text(json.dumps(public_names(), indent=1) + "\n")

# SPDX-License-Identifier: Apache-2.0
"""One version, one configuration, pins that agree; slow: what the built wheels hold and need."""

import importlib.metadata
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
VERSION = runpy.run_path(str(ROOT / "VERSION.py"))["__version__"]
MEMBERS = {
    path.parent.name: tomllib.loads(path.read_text()) for path in ROOT.glob("packages/*/pyproject.toml")
}
DISTRIBUTIONS = {member["project"]["name"] for member in MEMBERS.values()}
# What core may need: every further package is downloaded by everybody.
CORE_NEEDS = {
    "torch",
    "lightning",
    "lightning-utilities",
    "torchmetrics",
    "jsonargparse",
    "safetensors",
    "rich",
    "pyyaml",
}


def requirements(member: dict) -> list[Requirement]:
    project = member["project"]
    extras = [name for names in project.get("optional-dependencies", {}).values() for name in names]
    return [Requirement(text) for text in (*project.get("dependencies", ()), *extras)]


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_member_follows_the_workspace(name: str) -> None:
    member = MEMBERS[name]
    assert member["project"]["dynamic"] == ["version"]
    assert member["tool"]["hatch"]["version"]["path"] == "../../VERSION.py"
    assert importlib.metadata.version(member["project"]["name"]) == VERSION
    assert set(member["tool"]) == {"hatch"}, (
        "lint, type and test configuration live in the root's pyproject.toml"
    )
    assert member["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == [f"src/conjoin/{name}"]
    assert member["project"]["requires-python"] == ">=3.11"
    assert (ROOT / "packages" / name / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_siblings_are_pinned_to_the_version(name: str) -> None:
    for requirement in requirements(MEMBERS[name]):
        if requirement.name in DISTRIBUTIONS:
            assert str(requirement.specifier) == f"=={VERSION}", f"{name} needs {requirement}"


def test_every_package_is_an_extra_of_core() -> None:
    extras = MEMBERS["core"]["project"]["optional-dependencies"]
    for name in set(MEMBERS) - {"core"}:
        assert [Requirement(text).name for text in extras[name]] == [f"conjoin-{name}"]


def test_core_needs_little() -> None:
    needs = {Requirement(text).name for text in MEMBERS["core"]["project"]["dependencies"]}
    assert needs <= CORE_NEEDS, f"core grew by {needs - CORE_NEEDS}"


def test_pinned_set_lies_in_the_declared_ranges() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = {Requirement(line).name: Requirement(line) for line in lines if line}
    for requirement in pins.values():
        assert str(requirement.specifier).startswith("=="), f"{requirement} is not a pin"
    for name, member in MEMBERS.items():
        for requirement in requirements(member):
            if requirement.name in pins:
                (pin,) = pins[requirement.name].specifier
                assert requirement.specifier.contains(pin.version), (
                    f"{name}: {requirement} excludes the pinned {pin}"
                )


def test_changelog_names_the_version() -> None:
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All wheels, built from the source archives as a package index would serve them."""
    folder = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--all-packages",
        "--build-constraints",
        "constraints.txt",
        "--out-dir",
        str(folder),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.slow
def test_wheels_share_no_path_and_are_typed(dist: Path) -> None:
    owner: dict[str, str] = {}
    for wheel in sorted(dist.glob("*.whl")):
        names = zipfile.ZipFile(wheel).namelist()
        package = next(name.split("/")[1] for name in names if name.startswith("conjoin/"))
        assert f"conjoin/{package}/py.typed" in names
        assert any(name.endswith("licenses/LICENSE") for name in names)
        for name in names:
            assert name.startswith(
                (f"conjoin/{package}/", f"{wheel.name.split('-')[0]}-{VERSION}.dist-info/")
            ), name
            assert "__pycache__" not in name
            assert name not in owner, f"{name} is in {owner[name]} and {wheel.name}"
            owner[name] = wheel.name
    assert len({*owner.values()}) == len(MEMBERS)
    assert sum(path.stat().st_size for path in dist.glob("conjoin-*.whl")) < 1 << 20, "core is code only"


@pytest.mark.slow
def test_recipes_and_data_are_in_the_wheels(dist: Path) -> None:
    """Files that are no Python are easily forgotten by a build: compare with the tree."""
    for name in MEMBERS:
        folder = ROOT / "packages" / name / "src"
        (wheel,) = dist.glob(f"conjoin{'' if name == 'core' else '_' + name}-*.whl")
        packed = {entry for entry in zipfile.ZipFile(wheel).namelist() if entry.startswith("conjoin/")}
        tree = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert packed == {path for path in tree if "__pycache__" not in path}

# SPDX-License-Identifier: Apache-2.0
"""What README and docs say is so: commands exist, code runs, tables are the code's, links lead somewhere."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted(ROOT.glob("packages/*/README.md")),
    ]
}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = {
    f"{page}:{number}": (language, code)
    for page, text in PAGES.items()
    for number, (language, code) in enumerate(FENCE.findall(text))
}
# Blocks that only show another file, which has a test of its own.
INCLUDE = '--8<-- "'
# One page is a sketch of signatures and not a program.
PROGRAMS = [
    name
    for name, (language, code) in BLOCKS.items()
    if language == "python" and INCLUDE not in code and not name.startswith("docs/architecture.md")
]
COMMANDS = ("fit", "validate", "test", "predict", "rank", "recipes", "embed", "probe", "report", "convert")


def shell_lines() -> list[tuple[str, str]]:
    lines = [
        (name, line.split("  #")[0].strip())
        for name, (language, code) in BLOCKS.items()
        if language == "bash"
        for line in code.splitlines()
    ]
    assert len(lines) > 10
    return lines


def test_readme_has_the_two_commands() -> None:
    for session in ("demo", "tests"):
        assert f"python -m pip install uv nox && python -m nox -s {session}\n" in README


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert "'python -m pip install uv nox && python -m nox -s tests'" in script.read_text()
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_nox_sessions_that_are_named_exist() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    assert {"demo", "tests", "tests_minimal", "lint", "types", "docs", "build", "bench"} <= sessions
    everything = "\n".join([*PAGES.values(), (ROOT / ".ci" / "run").read_text()])
    for names in re.findall(r"nox -s ([a-z_ ]+[a-z_])", everything):
        assert set(names.split()) - {"in", "does", "with"} <= sessions, names


def test_commands_that_are_shown_exist() -> None:
    for name, line in shell_lines():
        if line.startswith("conjoin "):
            command = line.split()[1]
            assert set(command.split("|")) <= {*COMMANDS, "COMMAND"}, f"{name}: {line}"


def test_recipes_that_are_named_exist() -> None:
    recipes = {path.stem for path in ROOT.glob("packages/*/src/conjoin/*/recipes/*.yaml")}
    text = "\n".join(PAGES.values())
    named = {
        *re.findall(r"--config ([a-z0-9][\w-]+)", text),
        *re.findall(r"recipes show ([a-z0-9][\w-]+)", text),
    }
    assert named
    assert named <= recipes, named - recipes


def test_classes_that_are_named_on_the_command_line_exist() -> None:
    public = {
        name
        for package in ("conjoin.core.masking", "conjoin.vision", "conjoin.core")
        for name in importlib.import_module(package).__all__
    }
    for name, line in shell_lines():
        for value in re.findall(r"--(?:model|data|model\.masks|model\.help) ([A-Z]\w+)", line):
            assert value in public, f"{name}: {line}"


def test_included_files_are_included() -> None:
    """A formatter once took the marker for Python, and pages lost their examples."""
    lines = [line for text in PAGES.values() for line in text.splitlines() if line.startswith("--8")]
    files = [re.fullmatch(r'--8<-- "([^":]+)(:\w+)?"', line) for line in lines]
    assert all(files), lines
    assert all((ROOT / file[1]).exists() for file in files if file)
    assert sum(bool(file and file[1].startswith("examples/")) for file in files) == 4


def test_table_of_systems_is_the_codes() -> None:
    module = runpy.run_path(str(ROOT / "docs" / "systems.py"))
    assert "`IJEPA`" in module["table"]()
    assert module["updated"](README) == README, "run: python docs/systems.py"


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/")])
def test_links_outside_the_site_lead_to_files(page: str) -> None:
    """Inside docs/ the strict build checks them."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        """Tolerates the tags of mkdocs."""

    Loader.add_multi_constructor("tag:", lambda loader, suffix, node: None)
    navigation = str(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"])
    for page in PAGES:
        if page.startswith("docs/"):
            assert f"'{page.removeprefix('docs/')}'" in navigation, f"{page} is not in mkdocs.yml"


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_code_block_runs(name: str, tmp_path: Path) -> None:
    """Each Python block as a program of its own, with runs cut to two steps."""
    short = (
        "import lightning.pytorch as pl\n"
        "real = pl.Trainer.__init__\n"
        "def brief(self, **options):\n"
        "    cuts = dict(limit_train_batches=2, limit_val_batches=1, max_epochs=1, accelerator='cpu')\n"
        "    real(self, **{**options, **cuts})\n"
        "pl.Trainer.__init__ = brief\n"
    )
    script = tmp_path / "block.py"
    script.write_text(short + BLOCKS[name][1])
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr

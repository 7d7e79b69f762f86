# SPDX-License-Identifier: Apache-2.0
"""The catalogue of recipes, and ``conjoin recipes``.

A recipe is a configuration file in the folder ``recipes`` of a plugin. Its leading comment describes it, its
name is the file's name without ``.yaml``. None of this imports a plugin, torch or Lightning.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conjoin.core import plugins
from conjoin.core.cli.errors import UserError

__all__ = ("Recipe", "catalogue", "find", "run", "with_paths")

_CONFIG_FLAGS = ("--config", "-c")


@dataclass(frozen=True)
class Recipe:
    """A file of the catalogue.

    Attributes:
        name: What the command line calls it.
        path: The file.
        package: The distribution that brings it.
    """

    name: str
    path: Path
    package: str

    @property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text(encoding="utf-8")

    @property
    def description(self) -> str:
        """The leading comment, one paragraph, without a licence line."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            comment = line.lstrip("#").strip()
            if comment and not comment.startswith("SPDX"):
                lines.append(comment)
        return " ".join(lines)

    @property
    def config(self) -> dict[str, Any]:
        """The parsed YAML."""
        return yaml.safe_load(self.text) or {}

    @property
    def size(self) -> str:
        """``"small"`` by name, else ``"paper"``."""
        return "small" if "small" in self.name.split("-") else "paper"


def catalogue() -> dict[str, Recipe]:
    """All recipes by name.

    Raises:
        UserError: If two packages have a recipe of one name.
    """
    found: dict[str, Recipe] = {}
    for plugin in plugins.plugins():
        folder = plugin.folder()
        for path in sorted((folder / "recipes").glob("*.yaml")) if folder else ():
            other = found.setdefault(path.stem, Recipe(path.stem, path, plugin.distribution))
            if other.path != path:
                raise UserError(f"{other.package} and {plugin.distribution} both have a recipe {path.stem}")
    return found


def find(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        UserError: If there is none; names the nearest.
    """
    known = catalogue()
    if name in known:
        return known[name]
    close = plugins.nearest(name, known)
    hint = f"did you mean {close}?" if close else "`conjoin recipes` lists those that are installed"
    raise UserError(f"There is no recipe and no file {name!r}; {hint}")


def _path_of(value: str) -> str:
    """A path for a value of ``--config``: a file as it is, a recipe's file, or inline YAML untouched."""
    if Path(value).is_file() or "://" in value or "{" in value or "\n" in value:
        return value
    if value.endswith((".yaml", ".yml", ".json")):
        raise UserError(f"There is no configuration file {value}")
    return str(find(value).path)


def with_paths(arguments: Sequence[str]) -> list[str]:
    """Replace recipe names after ``--config`` by the paths of their files."""
    replaced: list[str] = []
    follows = False
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if follows:
            replaced.append(_path_of(argument))
        elif equals and flag in _CONFIG_FLAGS:
            replaced.append(f"{flag}={_path_of(value)}")
        else:
            replaced.append(argument)
        follows = argument in _CONFIG_FLAGS
    return replaced


def _class_name(node: Any) -> str:
    path = node.get("class_path", "") if isinstance(node, dict) else node or ""
    return str(path).rpartition(".")[2]


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin recipes [show NAME]``."""
    parser = argparse.ArgumentParser(
        f"conjoin {command}", description="List recipes, or show the file of one."
    )
    actions = parser.add_subparsers(dest="action", metavar="[show NAME]")
    actions.add_parser("show", help="print a recipe with its comments").add_argument("name")
    given = parser.parse_args(arguments)
    if given.action == "show":
        print(find(given.name).text, end="")
        return
    from rich.console import Console
    from rich.table import Table

    found = catalogue()
    if not found:
        print('No installed package has recipes; `pip install "conjoin[vision]"` brings the first.')
        return
    table = Table(title="conjoin fit --config NAME", title_justify="left")
    table.add_column("name", no_wrap=True)
    for column in ("system", "data", "package", "size"):
        table.add_column(column, overflow="fold")
    table.add_column("description", min_width=24)
    for recipe in found.values():
        names = (_class_name(recipe.config.get(key)) for key in ("model", "data"))
        table.add_row(recipe.name, *names, recipe.package, recipe.size, recipe.description)
    # A pipe has no width of its own: lines may be long there.
    Console(width=None if sys.stdout.isatty() else 200).print(table)

# SPDX-License-Identifier: Apache-2.0
"""Writes the README's table of systems from the installed code: ``python docs/systems.py``.

A system is a public subclass of ``JointEmbedding`` of a modality package. Its row tells the first paragraph
of its docstring, the paper named in it or in its module, and the recipes whose model it is.
"""

import importlib
import inspect
import re
import sys
from pathlib import Path

import yaml

import conjoin
from conjoin.core import JointEmbedding

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- SYSTEMS -->\n", "<!-- /SYSTEMS -->"
PAPER = re.compile(r"(?:arXiv[:\s]*|arxiv\.org/abs/)(\d{4}\.\d{4,5})", re.IGNORECASE)


def packages() -> list[str]:
    """The modality packages that are there."""
    folders = {
        path.name
        for root in conjoin.__path__
        for path in Path(root).iterdir()
        if (path / "__init__.py").is_file()
    }
    return sorted(folders - {"core"})


def recipes() -> dict[str, list[str]]:
    """Recipe names by the short name of their model's class."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for root in conjoin.__path__ for path in Path(root).glob("*/recipes/*.yaml")):
        model = (yaml.safe_load(path.read_text()) or {}).get("model", {})
        found.setdefault(str(model.get("class_path", "")).rsplit(".", 1)[-1], []).append(path.stem)
    return found


def table() -> str:
    """The table in Markdown."""
    catalogue = recipes()
    rows = ["| system | in a sentence | paper | package | recipes |", "|---|---|---|---|---|"]
    for package in packages():
        module = importlib.import_module(f"conjoin.{package}")
        for name in sorted(getattr(module, "__all__", ())):
            cls = getattr(module, name)
            if not (inspect.isclass(cls) and issubclass(cls, JointEmbedding)):
                continue
            text = f"{cls.__doc__}\n{sys.modules[cls.__module__].__doc__}"
            sentence = (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").strip().rstrip(".")
            paper = PAPER.search(text)
            link = f"[arXiv {paper[1]}](https://arxiv.org/abs/{paper[1]})" if paper else ""
            names = ", ".join(f"`{recipe}`" for recipe in catalogue.get(name, ()))
            rows.append(
                f"| `{name}` | {' '.join(sentence.split())} | {link} | `conjoin-{package}` | {names} |"
            )
    return "\n".join(rows) + "\n"


def updated(text: str) -> str:
    """The README with the table of today."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(updated(readme.read_text()))

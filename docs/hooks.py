# SPDX-License-Identifier: Apache-2.0
"""API pages made from the source: one page per public part of each package, so none is forgotten.

A part is a folder or a module directly below ``conjoin.<package>`` that has ``__all__``.
Source is read, never imported: the documentation builds without torch.
"""

import ast
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Sphinx roles, which editors understand, are shown as plain code; docs/griffe_roles.py does so in docstrings.


def names(path: Path) -> tuple[str, ...]:
    """The ``__all__`` of a file, empty if it has none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


def parts() -> dict[str, dict[str, tuple[str, ...]]]:
    """For each package, its public modules with their public names: the package itself, then its parts."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for folder in sorted(ROOT.glob("packages/*/src/conjoin/*")):
        if not (folder / "__init__.py").is_file():
            continue
        package = f"conjoin.{folder.name}"
        modules = {package: names(folder / "__init__.py")}
        for path in sorted(folder.iterdir()):
            source = path / "__init__.py" if path.is_dir() else path
            if not path.name.startswith("_") and source.suffix == ".py" and source.is_file():
                modules[f"{package}.{path.stem}"] = names(source)
        found[package] = {module: public for module, public in modules.items() if public}
    return found


def source(module: str) -> Path | None:
    """The file of a module of this workspace."""
    stem = module.replace(".", "/")
    places = (*ROOT.glob(f"packages/*/src/{stem}.py"), *ROOT.glob(f"packages/*/src/{stem}/__init__.py"))
    return next(iter(places), None)


def home(module: str, name: str) -> str:
    """The module that defines a name, followed through re-exports."""
    path = source(module)
    for node in ast.walk(ast.parse(path.read_text())) if path else ():
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("conjoin."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return home(node.module, alias.name)
    return module


def page(module: str, public: tuple[str, ...], pages: set[str]) -> str:
    """One API page: the module's docstring, then its names, described here or linked."""
    blocks, links = [], []
    for name in public:
        origin = home(module, name)
        owner = max((page for page in pages if f"{origin}.".startswith(f"{page}.")), key=len)
        if owner == module:
            blocks.append(f"::: {origin}.{name}\n")
        else:
            links.append(f"- [`{name}`][{origin}.{name}] from `{owner}`")
    head = f"# {module}\n\n::: {module}\n    options: {{members: false, show_root_heading: false}}\n\n"
    return head + "\n".join([*links, "", *blocks])


def address(module: str) -> str:
    """Where a module's page lies below docs/."""
    return f"api/{module}.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation's API section."""
    section: list[Any] = [
        {package: [{module.removeprefix("conjoin."): address(module)} for module in modules]}
        for package, modules in parts().items()
        if modules
    ]
    config.nav = [
        {"API": section} if isinstance(entry, dict) and "API" in entry else entry
        for entry in config.nav or ()
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, which exist in memory only."""
    modules = {module: public for package in parts().values() for module, public in package.items()}
    for module, public in modules.items():
        files.append(File.generated(config, address(module), content=page(module, public, set(modules))))
    return files

# SPDX-License-Identifier: Apache-2.0
"""``conjoin convert``: translate weights between formats."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from conjoin.core.cli.errors import UserError

__all__ = ("run",)


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin convert --from official --to conjoin --system IJEPA IN OUT``."""
    parser = argparse.ArgumentParser(f"conjoin {command}", description="Translate weights between formats.")
    parser.add_argument(
        "--from", dest="source", default="conjoin", metavar="FORMAT", help="official, conjoin, timm ..."
    )
    parser.add_argument(
        "--to", dest="target", default="conjoin", metavar="FORMAT", help="conjoin, timm, safetensors ..."
    )
    parser.add_argument(
        "--system", help="whose weights these are (IJEPA), if several systems share the format"
    )
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args(arguments)
    from conjoin.core.converters import converters

    offered = converters()
    fits = [item for item in offered if (item.source, item.target) == (given.source, given.target)]
    if given.system:
        fits = [item for item in fits if item.system in (given.system, "any")]
    if not fits:
        pairs = sorted({f"{item.source} -> {item.target} ({item.system})" for item in offered})
        raise UserError(f"No converter from {given.source} to {given.target}; there are: {', '.join(pairs)}")
    if not given.input.is_file():
        raise UserError(f"There is no file {given.input}")
    if len(fits) > 1 and given.source == "conjoin":
        from conjoin.core.checkpoint import load

        held = str((load(given.input).get("conjoin") or {}).get("class_path", "")).rpartition(".")[2]
        fits = [item for item in fits if item.system == held] or fits
    if len(fits) > 1:
        systems = ", ".join(item.system for item in fits)
        raise UserError(
            f"Several systems convert {given.source} to {given.target}: choose with --system {systems}"
        )
    fits[0].run(given.input, given.output)
    print(given.output)

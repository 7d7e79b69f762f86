# SPDX-License-Identifier: Apache-2.0
"""Prints the table of docs/objectives.md about two ranks and one process: ``python docs/objectives_ddp.py``.

The numbers come from the comparison that ``tests/core/objectives/test_all.py`` holds to 1e-10: three steps of
gradient descent with a linear encoder, different rows on each rank, the last batch shared 11 to 9, float64,
gloo. ``--write`` puts the table into the page.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "objectives.md"
BEGIN, END = "<!-- DDP -->\n", "<!-- /DDP -->"
sys.path.insert(0, str(ROOT / "tests" / "core" / "objectives"))


def rank(number: int, folder: str) -> None:
    """One of the two processes."""
    import parity  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    torch.save(parity.on_rank(number, 2), f"{folder}/{number}.pt")
    dist.destroy_process_group()


def errors() -> dict[str, tuple[float, float, float]]:
    """The largest errors of value, gradient and state, by objective."""
    import parity

    with tempfile.TemporaryDirectory() as folder:
        spawn(rank, args=(folder,), nprocs=2)  # type: ignore[no-untyped-call]
        ranks: list[dict[str, Any]] = [torch.load(f"{folder}/{number}.pt") for number in range(2)]
    worst: dict[str, tuple[float, float, float]] = parity.worst(ranks)
    return worst


def table(found: dict[str, tuple[float, float, float]]) -> str:
    """The table in Markdown."""
    lines = ["| objective | value | gradient | state |", "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(f'{e:.0e}' for e in worst)} |" for name, worst in found.items()]
    return "\n".join(lines) + "\n"


def updated(text: str, found: dict[str, tuple[float, float, float]]) -> str:
    """The page with these numbers."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table(found) + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"replace the table in {PAGE.name}")
    write = parser.parse_args().write
    measured = errors()
    print(table(measured), end="")
    if write:
        PAGE.write_text(updated(PAGE.read_text(), measured))

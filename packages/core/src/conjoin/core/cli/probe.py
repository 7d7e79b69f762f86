# SPDX-License-Identifier: Apache-2.0
"""``conjoin probe``: what a frozen representation is worth beside its baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from conjoin.core.cli.source import parse, parser

__all__ = ("run",)


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin probe --checkpoint C --probes '[linear, knn, attentive]'``: prints a table."""
    from rich.console import Console

    from conjoin.core.evaluation import evaluate

    arguments_parser = parser(
        command, "Fit probes on the frozen representation and on baselines; choices on `val`."
    )
    arguments_parser.add_argument(
        "--probes", type=list[Literal["linear", "knn", "attentive"]], default=["linear", "knn"]
    )
    arguments_parser.add_argument(
        "--budgets", type=list[int | None], default=[10, 100, None], help="Labels per class."
    )
    arguments_parser.add_argument(
        "--baselines", type=list[Literal["random", "raw"]], default=["random", "raw"]
    )
    arguments_parser.add_argument(
        "--draws", type=int, default=3, help="Draws of the labelled samples per budget."
    )
    arguments_parser.add_argument("--seed", type=int, default=0)
    arguments_parser.add_argument(
        "--out", type=str | None, default=None, help="Also write the table as JSON."
    )
    given, _, model, data = parse(arguments_parser, arguments)
    table = evaluate(
        model,
        data,
        budgets=given.budgets,
        probes=given.probes,
        baselines=given.baselines,
        draws=given.draws,
        seed=given.seed,
        device=given.device,
    )
    Console().print(table)
    if given.out:
        table.to_json(Path(given.out))

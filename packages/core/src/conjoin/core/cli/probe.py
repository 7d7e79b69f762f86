# SPDX-License-Identifier: Apache-2.0
"""``conjoin probe``: what a frozen representation is worth beside its baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from conjoin.core.cli.source import parse, parser

__all__ = ("run",)


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin probe --checkpoint C --probes '[linear, knn, attentive, mlp, svm]'``: prints a table."""
    from rich.console import Console

    from conjoin.core.evaluation import evaluate
    from conjoin.core.evaluation.task import Probe, Task

    arguments_parser = parser(
        command, "Fit probes on the frozen representation and on baselines; choices on `val`."
    )
    arguments_parser.add_argument(
        "--probes",
        type=list[Probe] | None,
        default=None,
        help="Of linear, knn, attentive, mlp, svm; linear and, but for several labels, knn if left out.",
    )
    arguments_parser.add_argument(
        "--budgets",
        type=list[int | None],
        default=[10, 100, None],
        help="Labels per class, in a regression in all.",
    )
    arguments_parser.add_argument(
        "--task",
        type=Task | None,
        default=None,
        help="What is asked: classification, regression, multilabel; what the data declare if left out.",
    )
    arguments_parser.add_argument(
        "--few_shot",
        type=list[tuple[int, int]],
        default=[],
        help="Pairs of ways and shots, [[5, 10], [10, 20]]: episodes of the test split.",
    )
    arguments_parser.add_argument(
        "--baselines", type=list[Literal["random", "raw"]], default=["random", "raw"]
    )
    arguments_parser.add_argument(
        "--draws", type=int, default=3, help="Draws of the labelled samples per budget."
    )
    arguments_parser.add_argument("--seed", type=int, default=0)
    arguments_parser.add_argument(
        "--layers",
        type=list[int],
        default=[1],
        help="Features to try: of the last block, [1], or also of the last four side by side, [1, 4].",
    )
    arguments_parser.add_argument(
        "--axes",
        type=list[int],
        default=[64],
        help="Neighbours are also sought in so many whitened leading axes, [64, 256]; validation chooses.",
    )
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
        few_shot=given.few_shot,
        task=given.task,
        draws=given.draws,
        seed=given.seed,
        layers=given.layers,
        axes=given.axes,
        device=given.device,
    )
    Console().print(table)
    if given.out:
        table.to_json(Path(given.out))

# SPDX-License-Identifier: Apache-2.0
"""The table that a frozen evaluation ends in."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table as RichTable

__all__ = ("Row", "Table")


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        features: What was probed: ``"teacher"``, ``"random init"``, ``"raw input"``.
        probe: ``"linear"``, ``"knn"``, ``"attentive"``, ``"mlp"``, ``"svm"``, or ``"5-way"`` (few-shot).
        labels_per_class: Budget, ``None`` for all labels.
        split: ``"val"`` (on which choices were made) or ``"test"``.
        metric: ``"accuracy"``, ``"few_shot_accuracy"``, ``"macro_auc"`` or ``"rmse"``.
        value: Mean over the draws of the labelled samples.
        std: Sample standard deviation over the draws, 0 for a single one.
        draws: How many there were.
    """

    features: str
    probe: str
    labels_per_class: int | None
    split: str
    metric: str
    value: float
    std: float
    draws: int

    @property
    def budget(self) -> str:
        """The budget in words."""
        return "all" if self.labels_per_class is None else str(self.labels_per_class)


@dataclass
class Table:
    """Rows, in the order in which they were measured."""

    rows: list[Row] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, **where: object) -> "Table":
        """The rows whose attributes equal ``where``."""
        return Table(
            [row for row in self.rows if all(getattr(row, name) == value for name, value in where.items())]
        )

    def to_json(self, path: str | Path | None = None) -> str:
        """``{"rows": [...]}`` as text, and in a file if a path is given; the file is replaced as a whole."""
        text = json.dumps({"rows": [asdict(row) for row in self.rows]}, indent=1)
        if path is not None:
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(text + "\n")
            os.replace(part, path)
        return text

    @classmethod
    def from_json(cls, text: str) -> "Table":
        """Read what :meth:`to_json` wrote."""
        return cls([Row(**row) for row in json.loads(text)["rows"]])

    def __rich__(self) -> RichTable:
        """Test figures: a line per features and probe, a column per budget, best in bold."""
        shown = [row for row in self.rows if row.split == "test"]
        budgets = list(dict.fromkeys(row.budget for row in shown))
        auc = any(row.metric == "macro_auc" for row in shown)
        table = RichTable(title=f"Frozen evaluation: test {'macro AUC' if auc else 'accuracy'}, %")
        table.add_column("features")
        table.add_column("probe")
        for budget in budgets:
            table.add_column("all labels" if budget == "all" else f"{budget} / class", justify="right")
        found = {(row.probe, row.features, row.budget): row for row in shown}
        for probe in dict.fromkeys(row.probe for row in shown):
            for features in dict.fromkeys(row.features for row in shown if row.probe == probe):
                cells = [_cell(found.get((probe, features, budget)), shown) for budget in budgets]
                table.add_row(features, probe, *cells)
            table.add_section()
        return table


def _cell(row: Row | None, rows: list[Row]) -> str:
    if row is None:
        return "-"
    text = f"{100 * row.value:.1f}" + (f" ± {100 * row.std:.1f}" if row.draws > 1 else "")
    rivals = [other.value for other in rows if (other.probe, other.budget) == (row.probe, row.budget)]
    return f"[bold]{text}[/bold]" if row.value == max(rivals) else text

# SPDX-License-Identifier: Apache-2.0
"""Any table in a file: CSV, ARFF or parquet with a word on which column is the target."""

from pathlib import Path
from typing import Literal

from conjoin.tabular.data.module import Source, TableModule, Task
from conjoin.tabular.data.readers import read_cells
from conjoin.tabular.schema import Scaling
from conjoin.tabular.table import MISSING, Table

__all__ = ("TableFile",)


class TableFile(TableModule):
    """A table of your own: ``.csv``, ``.tsv``, ``.arff`` or ``.parquet`` (text also as ``.gz``).

    Columns named in neither list are numeric if all their values are numbers, categorical otherwise.

    Args:
        path: The file.
        target: Column to predict; None for a table without one.
        task: ``"classification"`` or ``"regression"``; None with no target.
        categorical: Columns of categories, numbers among them.
        numeric: Columns of numbers.
        drop: Columns to leave out (identifiers, leaks).
        missing: Cells that mean "no value".
        header: Whether the first line of a text file has the names; otherwise they are ``"0"``, ``"1"`` ...
        delimiter: Between the cells of a text file.
        scaling: Of numeric columns.
        statistics: Rows on which the schema is fitted.
        pretrain_rows: Rows of the training loader.
        val_fraction: Share of rows held out for choices.
        test_fraction: Share of rows held out for the final figure.
        split_seed: Of that split, apart from the run's seed.
        batch_size: Rows per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Rows per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of the order; the run's seed if not given.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If target and task do not go together.
    """

    def __init__(
        self,
        path: str | Path,
        target: str | None = None,
        task: Task | None = None,
        *,
        categorical: tuple[str, ...] = (),
        numeric: tuple[str, ...] = (),
        drop: tuple[str, ...] = (),
        missing: tuple[str, ...] = MISSING,
        header: bool = True,
        delimiter: str = ",",
        scaling: Scaling = "standard",
        statistics: Literal["train", "all"] = "train",
        pretrain_rows: Literal["train", "all"] = "train",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 512,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            task,
            scaling=scaling,
            statistics=statistics,
            pretrain_rows=pretrain_rows,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        if (target is None) != (task is None):
            raise ValueError(
                f"Give target and task together: target is {target!r}, task is {task!r} (classification or "
                "regression)."
            )
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {self.path}: check the path, or fetch the table.")
        self.target = target
        self.categorical = tuple(categorical)
        self.numeric = tuple(numeric)
        self.drop = tuple(drop)
        self.missing = tuple(missing)
        self.header = header
        self.delimiter = delimiter

    def read(self) -> Source:
        """The file's columns, the target apart."""
        cells, nominal = read_cells(self.path, header=self.header, delimiter=self.delimiter)
        categorical = (set(self.categorical) | nominal) - set(self.numeric)
        numeric = set(self.numeric)
        if self.target is not None:
            # Written first: a class may be called NA, and a label is a word even where it is a number.
            (numeric if self.task == "regression" else categorical).add(self.target)
            (categorical if self.task == "regression" else numeric).discard(self.target)
        table = Table.from_cells(cells, categorical=categorical, numeric=numeric, missing=self.missing)
        table = table.without(self.drop)
        if self.target is None:
            return Source(table)
        return Source(table.without((self.target,)), table[self.target])

# SPDX-License-Identifier: Apache-2.0
"""The embedded tables of conjoin-samples: real rows of mixed types without a network."""

from typing import Literal

import numpy as np

from conjoin.tabular.data.module import Source, TableModule, Task
from conjoin.tabular.schema import Scaling
from conjoin.tabular.table import Table

__all__ = ("EmbeddedTable",)

Name = Literal["diamonds", "churn", "credit", "flights"]


class EmbeddedTable(TableModule):
    """A table of conjoin-samples with its own split.

    ``diamonds`` (53,940 rows, 6 numeric and 3 categorical columns): the price, as a regression or in five
    classes of equal size. ``churn`` (7,043; 3 and 16): whether a customer leaves. ``credit`` (4,454; 9 and
    4): whether a client pays; many values are missing. ``flights`` (30,000; 6 and 3): whether a flight
    arrives over 15 minutes late, or by how many minutes.

    Args:
        name: Which table.
        task: ``"classification"``, or ``"regression"`` for ``diamonds`` and ``flights``.
        scaling: Of numeric columns.
        statistics: Rows on which the schema is fitted.
        pretrain_rows: Rows of the training loader.
        batch_size: Rows per batch and process.
        num_workers: Worker processes per loader; 0 is best for tables, which are in memory.
        eval_batch_size: Rows per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of the order; the run's seed if not given.

    Raises:
        ImportError: If conjoin-samples is not installed.
        ValueError: If there is no such table, or it has no such task.
    """

    def __init__(
        self,
        name: Name = "diamonds",
        task: Task = "classification",
        *,
        scaling: Scaling = "standard",
        statistics: Literal["train", "all"] = "train",
        pretrain_rows: Literal["train", "all"] = "train",
        batch_size: int = 128,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            task,
            scaling=scaling,
            statistics=statistics,
            pretrain_rows=pretrain_rows,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        try:
            from conjoin import samples
        except ImportError as error:
            raise ImportError(
                "The embedded tables are in the distribution conjoin-samples: python -m pip install "
                "'conjoin[samples]'."
            ) from error
        self.name = name
        self._stored = samples.table(name)
        if task not in self._stored.targets:
            raise ValueError(
                f"The table {name!r} has no {task}; it has {' and '.join(sorted(self._stored.targets))}."
            )

    def read(self) -> Source:
        """The embedded rows."""
        stored = self._stored
        assert self.task is not None
        columns = {name: np.array(values) for name, values in stored.columns.items()}
        return Source(Table(columns), stored.targets[self.task], stored.class_names, stored.split)

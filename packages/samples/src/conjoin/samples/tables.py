# SPDX-License-Identifier: Apache-2.0
"""The embedded tables: mixed columns, missing values, targets to predict."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.samples import store

__all__ = ("TABLES", "TableSet", "table")

TABLES = ("diamonds", "churn", "credit", "flights")


@dataclass(frozen=True)
class TableSet:
    """A table with what may be predicted from it.

    Attributes:
        columns: Features by name: float64 (N,), NaN where missing, or object (N,) of strings, None where
            missing.
        targets: By task: ``"classification"`` has class names (object), ``"regression"`` numbers (float64).
        class_names: In their order.
        split: uint8 (N,): 0 train, 1 validation, 2 test.
    """

    columns: Mapping[str, NDArray[Any]]
    targets: Mapping[str, NDArray[Any]]
    class_names: tuple[str, ...]
    split: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.split)


def _column(raw: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    values = raw[f"values {name}"]
    if values.dtype.kind == "U":
        values = np.array([value or None for value in values.tolist()], object)
    column: NDArray[Any] = values[raw[f"codes {name}"]]
    # The arrays are shared by all callers in the process.
    column.setflags(write=False)
    return column


@cache
def table(name: str) -> TableSet:
    """An embedded table; read once per process, the arrays are read-only.

    Raises:
        ValueError: If there is no such table; the message names those that there are.
        SampleError: If its file is missing or damaged.
    """
    if name not in TABLES:
        raise ValueError(f"No embedded table is called {name!r}; there are {', '.join(TABLES)}.")
    raw = store.arrays(name)
    tasks = [task for task in ("classification", "regression") if f"codes target {task}" in raw]
    split = raw["split"]
    split.setflags(write=False)
    return TableSet(
        {column: _column(raw, column) for column in raw["columns"].tolist()},
        {task: _column(raw, f"target {task}") for task in tasks},
        tuple(raw["class_names"].tolist()),
        split,
    )

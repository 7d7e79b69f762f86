# SPDX-License-Identifier: Apache-2.0
"""What an encoder has to know of a table, fitted on training rows: scales, categories, missing values.

The order of a row is fixed: numeric columns in the table's order, then categorical ones. Encoded rows are
float32:

* a number is shifted and scaled; a constant column becomes 0 (with a warning: it can teach nothing);
* a missing number stays NaN if the column had missing values in training, else it becomes the training mean;
* a category is its place among the training categories, sorted; a missing one is a category of its own if
  training had it, and everything unseen becomes the number after the last, which encoders take for "unknown";
* a column without any value in training is refused.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conjoin.tabular.table import Table

__all__ = ("CategoricalColumn", "NumericColumn", "Scaling", "Schema")

Scaling = Literal["standard", "minmax"]


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers.

    Attributes:
        name: In the table.
        shift: Subtracted.
        scale: Divided by.
        fill: Encoded training mean, for a value missing where none was in training.
        missing: Whether values were missing in training.
    """

    name: str
    shift: float
    scale: float
    fill: float
    missing: bool

    @classmethod
    def fit(cls, name: str, values: NDArray[np.float64], scaling: Scaling) -> "NumericColumn":
        """Statistics of training values.

        Raises:
            ValueError: If no value is there.
        """
        known = values[~np.isnan(values)]
        if not len(known):
            raise ValueError(f"Column {name!r} has no value in the training rows: leave it out (drop).")
        if scaling == "standard":
            shift, scale = float(known.mean()), float(known.std())
        else:
            shift, scale = float(known.min()), float(known.max() - known.min())
        if scale <= 1e-9 * max(1.0, abs(shift)):
            warnings.warn(
                f"Column {name!r} is constant in the training rows ({known[0]:g}): it is encoded as 0 and "
                "teaches nothing; consider leaving it out (drop).",
                stacklevel=2,
            )
            scale = 1.0
        return cls(name, shift, scale, (float(known.mean()) - shift) / scale, len(known) < len(values))

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """(N,) scaled values."""
        scaled = (values - self.shift) / self.scale
        if not self.missing:
            scaled = np.where(np.isnan(scaled), self.fill, scaled)
        return scaled.astype(np.float32)


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of categories.

    Attributes:
        name: In the table.
        values: Training categories, sorted; an empty string first stands for a missing value.
    """

    name: str
    values: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, cells: NDArray[np.object_]) -> "CategoricalColumn":
        """Categories of training cells.

        Raises:
            ValueError: If no value is there.
        """
        found = sorted({"" if cell is None else cell for cell in cells})
        if found in ([], [""]):
            raise ValueError(f"Column {name!r} has no value in the training rows: leave it out (drop).")
        if len(found) == 1:
            warnings.warn(
                f"Column {name!r} is constant in the training rows ({found[0]!r}): it teaches nothing; "
                "consider leaving it out (drop).",
                stacklevel=2,
            )
        return cls(name, tuple(found))

    def encode(self, cells: NDArray[np.object_]) -> NDArray[np.float32]:
        """(N,) places of the categories, ``len(values)`` for unknown ones."""
        places = {value: place for place, value in enumerate(self.values)}
        unknown = len(self.values)
        codes = [places.get("" if cell is None else cell, unknown) for cell in cells]
        return np.array(codes, np.float32)


@dataclass(frozen=True)
class Schema:
    """Columns in the order of encoded rows."""

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    @classmethod
    def fit(cls, table: Table, scaling: Scaling = "standard") -> "Schema":
        """Statistics of training rows.

        Args:
            table: Training rows, features only.
            scaling: ``"standard"``: mean 0 and standard deviation 1; ``"minmax"``: 0 to 1.

        Raises:
            ValueError: If a column has no value or the scaling is unknown.
        """
        if scaling not in ("standard", "minmax"):
            raise ValueError(f"scaling must be 'standard' or 'minmax', not {scaling!r}.")
        if not len(table):
            raise ValueError("There is no training row to fit the schema on: lower the held-out fractions.")
        return cls(
            tuple(NumericColumn.fit(name, table[name], scaling) for name in table.numeric),
            tuple(CategoricalColumn.fit(name, table[name]) for name in table.categorical),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in the order of encoded rows."""
        return (*(column.name for column in self.numeric), *(column.name for column in self.categorical))

    @property
    def categories(self) -> tuple[int, ...]:
        """Number of categories of each categorical column."""
        return tuple(len(column.values) for column in self.categorical)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numeric columns, by place, with missing values in training."""
        return tuple(place for place, column in enumerate(self.numeric) if column.missing)

    def encode(self, table: Table) -> NDArray[np.float32]:
        """Rows (N, columns)."""
        columns: list[NDArray[np.float32]] = [column.encode(table[column.name]) for column in self.numeric]
        columns += [column.encode(table[column.name]) for column in self.categorical]
        return np.stack(columns, axis=1)

    def one_hot(self, x: Tensor) -> Tensor:
        """Encoded rows (B, columns) as plain features (B, F) for baselines.

        Numbers (0 where missing), a mark per column with missing values, one-hot categories (all 0 for
        unknown ones).
        """
        count = len(self.numeric)
        numbers = x[:, :count]
        parts = [numbers.nan_to_num(0.0), numbers[:, list(self.missing)].isnan().to(x.dtype)]
        for place, size in enumerate(self.categories):
            codes = x[:, count + place].to(torch.int64)
            parts.append(torch.nn.functional.one_hot(codes.clamp(0, size), size + 1)[:, :size].to(x.dtype))
        return torch.cat(parts, dim=1)

    def check(self, numeric: int, categories: Sequence[int], missing: Sequence[int]) -> None:
        """Compare with the arguments of an encoder.

        Raises:
            ValueError: If they differ; the message has the arguments that fit.
        """
        mine: dict[str, Any] = {
            "numeric": len(self.numeric),
            "categories": list(self.categories),
            "missing": list(self.missing),
        }
        theirs = {"numeric": numeric, "categories": list(categories), "missing": list(missing)}
        if mine != theirs:
            given = ", ".join(f"{name}: {value}" for name, value in mine.items())
            asked = ", ".join(f"{name}: {value}" for name, value in theirs.items())
            raise ValueError(
                f"The data have {given}; the encoder was made for {asked}. Set the former in the model."
            )

# SPDX-License-Identifier: Apache-2.0
"""A table in memory: named columns of numbers or of words, nothing inferred that was not asked for.

A numeric column is float64 with NaN for a missing value, a categorical one an object array of strings with
None. No data-frame library is needed for that, and so none is installed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("MISSING", "Table", "numbers", "words")

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")
"""Cells that mean "no value"."""


def numbers(cells: Sequence[Any], name: str, missing: Collection[str] = MISSING) -> NDArray[np.float64]:
    """Cells as numbers.

    Raises:
        ValueError: If a cell is neither a finite number nor missing; names the column, the row and the cell.
    """
    fast = _all_numbers(cells)
    found = np.empty(len(cells), np.float64) if fast is None else fast
    for row, cell in enumerate(cells if fast is None else ()):
        if cell is None or (isinstance(cell, str) and cell.strip() in missing):
            found[row] = np.nan
            continue
        try:
            found[row] = float(cell)
        except (TypeError, ValueError):
            raise ValueError(
                f"Column {name!r}, row {row + 1}: {cell!r} is no number; name the column as categorical, or "
                "list the cell among the missing ones."
            ) from None
    if np.isinf(found).any():
        row = int(np.isinf(found).argmax())
        raise ValueError(f"Column {name!r}, row {row + 1} is infinite: replace it or leave the column out.")
    return found


def words(cells: Sequence[Any], missing: Collection[str] = MISSING) -> NDArray[np.object_]:
    """Cells as stripped strings, None where missing."""
    found = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        text = None if cell is None or cell != cell else str(cell).strip()
        found[row] = None if text is None or text in missing else text
    return found


def _all_numbers(cells: Sequence[Any]) -> NDArray[np.float64] | None:
    """Cells as numbers in one conversion, if each is one."""
    try:
        return np.array(cells, np.float64)
    except (TypeError, ValueError):
        return None


def _numeric(cells: Sequence[Any], missing: Collection[str]) -> bool:
    """Whether every cell with a value is a number, and there is one."""
    fast = _all_numbers(cells)
    if fast is not None:
        return not bool(np.isnan(fast).all())
    seen = False
    for cell in cells:
        if cell is None or (isinstance(cell, str) and cell.strip() in missing):
            continue
        try:
            float(cell)
        except (TypeError, ValueError):
            return False
        seen = True
    return seen


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Args:
        columns: float64 (N,) or object (N,) arrays by name, in the table's order.

    Raises:
        ValueError: If lengths differ or there is no column.
    """

    columns: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"A table needs columns of one length, got {lengths or 'none'}.")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(self.columns)

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the numeric columns."""
        return tuple(name for name, values in self.columns.items() if values.dtype != object)

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical columns."""
        return tuple(name for name, values in self.columns.items() if values.dtype == object)

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self.columns[name]
        except KeyError:
            raise ValueError(f"There is no column {name!r}; there are {', '.join(self.names)}.") from None

    def rows(self, chosen: NDArray[Any]) -> "Table":
        """The rows at these positions (or under this mask)."""
        return Table({name: values[chosen] for name, values in self.columns.items()})

    def without(self, names: Collection[str]) -> "Table":
        """The table less some columns.

        Raises:
            ValueError: If one of them is not there.
        """
        for name in names:
            self[name]
        return Table({name: values for name, values in self.columns.items() if name not in names})

    @classmethod
    def from_cells(
        cls,
        cells: Mapping[str, Sequence[Any]],
        *,
        categorical: Collection[str] = (),
        numeric: Collection[str] = (),
        missing: Collection[str] = MISSING,
    ) -> "Table":
        """Columns from cells; what is in neither list is numeric if all its values are numbers.

        Raises:
            ValueError: If a named column is not there or a cell of a numeric column is no number.
        """
        for name in (*categorical, *numeric):
            if name not in cells:
                raise ValueError(f"There is no column {name!r}; there are {', '.join(cells)}.")
        found: dict[str, NDArray[Any]] = {}
        for name, values in cells.items():
            if name in numeric or (name not in categorical and _numeric(values, missing)):
                found[name] = numbers(values, name, missing)
            else:
                found[name] = words(values, missing)
        return cls(found)

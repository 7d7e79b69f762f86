# SPDX-License-Identifier: Apache-2.0
"""A row of a table as pictures: a strip of coloured cells, one per column, and what the masks make of it.

Numbers go from blue (two standard deviations below the mean) over light grey to orange; categories have a
grey that tells them apart; a missing value is black. Cells that are not visible are transparent.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conjoin.core.masking import Masks
from conjoin.core.report.gallery import Panel
from conjoin.tabular.schema import Schema

__all__ = ("colours", "strips")

_LOW, _MIDDLE, _HIGH = np.array([0, 114, 178]), np.array([236, 236, 236]), np.array([230, 159, 0])
_CELL, _GAP = 18, 2  # pixels
_NAMED = 16  # columns that a caption names


def colours(x: Tensor, schema: Schema) -> NDArray[np.uint8]:
    """One colour (columns, 3) per cell of an encoded row (columns,)."""
    values = x.detach().float().cpu().numpy()
    found = np.empty((len(values), 3))
    for place, value in enumerate(values):
        if np.isnan(value):
            found[place] = 0
        elif place < len(schema.numeric):
            share = float(np.clip(value / 2, -1, 1))
            end = _HIGH if share > 0 else _LOW
            found[place] = _MIDDLE + abs(share) * (end - _MIDDLE)
        else:
            size = schema.categories[place - len(schema.numeric)]
            found[place] = 90 + 130 * min(float(value), size) / max(size, 1)
    return found.round().astype(np.uint8)


def strips(x: Tensor, schema: Schema, masks: Masks | None, grid: tuple[int, ...]) -> list[Panel]:
    """The row, what of it the context encoder sees, and the sets to predict.

    Args:
        x: (columns,) encoded.
        schema: Of the table.
        masks: Of this row, with a batch axis of 1; None for a method that masks nothing.
        grid: The token grid; one token more than columns means that a register comes first.
    """
    row = colours(x, schema)
    names = ", ".join(schema.names)
    shown = ", ".join(schema.names[:_NAMED]) + (" ..." if len(schema.names) > _NAMED else "")
    legend = f"row: {shown}. Blue is low, orange high, grey a category, black missing"
    panels = [Panel(legend, f"the columns {names}", _strip(row[None], None))]
    if masks is None:
        return panels
    # Tokens before the first column are no cells.
    shift = grid[0] - len(row)
    seen = _visible(masks.context[0], len(row), shift)
    hidden = np.stack([_visible(index, len(row), shift) for index in masks.targets[0]])
    told = ", ".join(name for name, visible in zip(schema.names, seen, strict=True) if visible)
    return [
        *panels,
        Panel(
            "context: what is seen",
            f"the columns that the context encoder sees: {told}",
            _strip(row[None], seen[None]),
        ),
        Panel(
            "targets: one line per set of columns to predict",
            f"the {len(hidden)} sets of columns to predict, one below the other",
            _strip(np.repeat(row[None], len(hidden), axis=0), hidden),
        ),
    ]


def _visible(index: Tensor, columns: int, shift: int) -> NDArray[np.bool_]:
    """Token places as a map (columns,), those before the first column dropped."""
    chosen = index.cpu().numpy() - shift
    found = np.zeros(columns, bool)
    found[chosen[(chosen >= 0) & (chosen < columns)]] = True
    return found


def _strip(cells: NDArray[np.uint8], visible: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Colours (rows, columns, 3) as RGBA pixels with gaps between the cells."""
    alpha = np.full(cells.shape[:2], 255) if visible is None else np.where(visible, 255, 0)
    pixels = np.concatenate([cells, alpha[..., None]], axis=-1).astype(np.uint8)
    pixels = pixels.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    for axis in (0, 1):
        place = np.arange(pixels.shape[axis]) % _CELL >= _CELL - _GAP
        pixels[(place, slice(None), 3) if axis == 0 else (slice(None), place, 3)] = 0
    return pixels

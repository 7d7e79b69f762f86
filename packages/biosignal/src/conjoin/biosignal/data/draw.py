# SPDX-License-Identifier: Apache-2.0
"""Strips of a recording as pixels for the report: one row per lead, hidden stretches of time tinted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from conjoin.biosignal.data.lettering import lettering

__all__ = ("strips",)

_HEIGHT, _WIDTH = 30, 800  # pixels of a row
_TRACE, _PAPER, _HIDDEN = (30, 40, 60), (255, 255, 255), (255, 221, 170)
_GAP = 6  # pixels on both sides of a name
_REACH = 4.0  # standardised units from the middle of a row to its border


def strips(
    x: NDArray[np.float32], hidden: NDArray[np.bool_] | None = None, names: Sequence[str] | None = None
) -> NDArray[np.uint8]:
    """Draw standardised leads below each other.

    Args:
        x: (C, T); what leaves its row is cut at the border.
        hidden: (N,) patches of equal length that are not visible; None tints nothing.
        names: Of the leads, written to the left of their rows; None for none.

    Returns:
        uint8 (30 C, 800, 3), with names as much wider as the longest of them needs.
    """
    leads, length = x.shape
    # Columns may outnumber samples: each takes the samples from its own first to the next column's first.
    edges = np.linspace(0, length - 1, _WIDTH + 1)
    first, last = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    image = np.full((leads * _HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    if hidden is not None:
        patch = np.minimum(first * len(hidden) // length, len(hidden) - 1)
        image[:, hidden[patch]] = _HIDDEN
    place = (1 - (x / _REACH).clip(-1, 1)) / 2 * (_HEIGHT - 1)
    rows = np.arange(_HEIGHT)[:, None]
    for lead in range(leads):
        low = np.array([place[lead, a : b + 1].min() for a, b in zip(first, last, strict=True)])
        high = np.array([place[lead, a : b + 1].max() for a, b in zip(first, last, strict=True)])
        drawn = (rows >= np.floor(low)) & (rows <= np.ceil(high))
        image[lead * _HEIGHT : (lead + 1) * _HEIGHT][drawn] = _TRACE
    return image if names is None else np.concatenate((_margin(names), image), axis=1)


def _margin(names: Sequence[str]) -> NDArray[np.uint8]:
    """Names below each other, each in the middle of its row's height."""
    words = [lettering(name) for name in names]
    width = max(word.shape[1] for word in words) + 2 * _GAP
    image = np.full((len(words) * _HEIGHT, width, 3), _PAPER, np.uint8)
    for row, word in enumerate(words):
        top = row * _HEIGHT + (_HEIGHT - len(word)) // 2
        image[top : top + len(word), _GAP : _GAP + word.shape[1]][word] = _TRACE
    return image

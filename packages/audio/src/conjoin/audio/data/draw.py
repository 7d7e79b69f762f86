# SPDX-License-Identifier: Apache-2.0
"""Spectrograms as pixels for the report: hidden patches grey, targets outlined."""

import numpy as np
from numpy.typing import NDArray

__all__ = ("colours", "outlined")

_SCALE = 3  # pixels per frame and band of small maps
_WIDE = 1024  # pixels; wider maps are drawn one to one
# Dark to bright, each step lighter than the one before, for all forms of colour vision.
_RAMP = np.array(
    [(12, 8, 38), (74, 22, 94), (150, 44, 90), (221, 81, 58), (250, 155, 50), (252, 246, 190)], float
)
_HIDDEN = np.array((225, 225, 225), np.uint8)
_BLOCKS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))


def _turned(cells: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A map over patches (time, band) as one over pixels (rows from the top, columns)."""
    height, width = shape
    rows = (height - 1 - np.arange(height)) * cells.shape[1] // height
    columns = np.arange(width) * cells.shape[0] // width
    return np.asarray(cells.T[rows[:, None], columns], bool)


def colours(x: NDArray[np.float32], seen: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Colour a map between its own 1st and 99th percentile.

    Args:
        x: (T, F).
        seen: (time, band) patches that are visible; the others are drawn grey. None greys nothing.

    Returns:
        uint8 (rows, columns, 3): F bands from the top, T frames from the left, enlarged if there are few.
    """
    low, high = np.percentile(x, (1, 99))
    level = ((x.T[::-1] - low) / max(float(high - low), 1e-6)).clip(0, 1) * (len(_RAMP) - 1)
    steps = np.arange(len(_RAMP))
    image = np.stack([np.interp(level, steps, _RAMP[:, c]) for c in range(3)], axis=-1).astype(np.uint8)
    if x.shape[0] * _SCALE <= _WIDE:
        image = image.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    if seen is not None:
        image[~_turned(seen, image.shape[:2])] = _HIDDEN
    return image


def outlined(image: NDArray[np.uint8], blocks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw the borders of blocks into an image, two pixels wide.

    Args:
        image: From :func:`colours`; left as it is.
        blocks: (M, time, band) bool.

    Returns:
        uint8 of the image's shape.
    """
    image = image.copy()
    for number, block in enumerate(blocks):
        inside = np.pad(_turned(block, image.shape[:2]), 2)
        core = inside.copy()
        for axis in (0, 1):
            for shift in (-2, -1, 1, 2):
                core &= np.roll(inside, shift, axis)
        image[(inside & ~core)[2:-2, 2:-2]] = _BLOCKS[number % len(_BLOCKS)]
    return image

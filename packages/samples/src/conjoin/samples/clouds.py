# SPDX-License-Identifier: Apache-2.0
"""The embedded shapes: electronic parts as points on their surfaces."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from conjoin.samples import store

__all__ = ("ShapeSet", "ShapeSplit", "shapes")

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ShapeSplit:
    """Clouds with labels.

    Attributes:
        points: float32 (N, 512, 3) in millimetres, x, y and z (up), from 0 to the sides of the bounding box.
        labels: int64 (N,).
        families: int64 (N,), part family; all members of a family are in one split.
        names: Of the parts.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    families: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class ShapeSet:
    """KiCad's models of electronic parts in 34 classes, split by part family."""

    train: ShapeSplit
    validation: ShapeSplit
    test: ShapeSplit
    class_names: tuple[str, ...]
    family_names: tuple[str, ...]


@cache
def shapes() -> ShapeSet:
    """The embedded shapes; read once per process, the arrays are read-only."""
    raw = store.arrays("shapes")
    splits = {}
    for number, split in enumerate(_SPLITS):
        chosen = np.flatnonzero(raw["split"] == number)
        levels = raw["points"][chosen].transpose(0, 2, 1).astype(np.float32)
        points = np.ascontiguousarray(levels / 255 * raw["sides"][chosen][:, None])
        labels, families = (raw[name][chosen].astype(np.int64) for name in ("labels", "families"))
        for array in (points, labels, families):
            # The arrays are shared by all callers in the process.
            array.setflags(write=False)
        splits[split] = ShapeSplit(points, labels, families, tuple(raw["names"][chosen].tolist()))
    return ShapeSet(
        **splits,
        class_names=tuple(raw["class_names"].tolist()),
        family_names=tuple(raw["family_names"].tolist()),
    )

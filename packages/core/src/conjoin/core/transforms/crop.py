# SPDX-License-Identifier: Apache-2.0
"""Where a view looks: random crops with and without resizing, and flips."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from conjoin.core import random
from conjoin.core.transforms.base import Transform, chance, check_probability, check_range
from conjoin.core.transforms.resample import resample

__all__ = ("Crop", "Flip", "Window")


@dataclass(frozen=True)
class Crop(Transform):
    """A random box brought to one size: a stretch of a signal, a rectangle of a picture, a box of a volume.

    Args:
        scale: Least and greatest share of the cells that the box keeps, drawn uniformly.
        ratio: Least and greatest width by height, for pictures only, drawn uniformly on a logarithmic scale.
            A side that would be longer than its axis is cut to it.
        size: Cells along each axis of the result; None keeps the size.

    Raises:
        ValueError: If an argument lies outside its range.
    """

    moves: ClassVar[bool] = True

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    size: int | None = None

    def __post_init__(self) -> None:
        check_range("scale", self.scale, 0, 1)
        check_range("ratio", self.ratio, 0, math.inf)
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}.")

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same, or with ``size`` cells along each axis."""
        lengths = torch.tensor(x.shape[2:], device=x.device, dtype=torch.float64)
        axes = len(lengths)
        draws = random.uniform(keys, 2 + axes)
        share = self.scale[0] + draws[:, :1] * (self.scale[1] - self.scale[0])
        sides = (share * lengths.prod()) ** (1 / axes) if axes == 2 else share ** (1 / axes) * lengths
        if axes == 2:
            low, high = (math.log(value) for value in self.ratio)
            root = torch.exp((low + draws[:, 1:2] * (high - low)) / 2)
            sides = torch.cat((sides / root, sides * root), dim=1)
        extents = torch.minimum(sides.round().clamp(min=1), lengths)
        starts = (draws[:, 2:] * (lengths - extents + 1)).floor()
        size = tuple(x.shape[2:]) if self.size is None else (self.size,) * axes
        return resample(x, starts, extents, size)


@dataclass(frozen=True)
class Window(Transform):
    """A random stretch along the last axis, not resized: for signals whose time scale means something.

    Args:
        size: Cells of the stretch.

    Raises:
        ValueError: If ``size`` is not positive, or longer than the signal.
    """

    moves: ClassVar[bool] = True

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}.")

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ..., T) to (B, C, ..., size)."""
        room = x.shape[-1] - self.size
        if room < 0:
            raise ValueError(f"A window of {self.size} does not fit in a signal of {x.shape[-1]}.")
        start = random.randint(keys, 1, room + 1)
        index = (start + torch.arange(self.size, device=x.device)).view(-1, *[1] * (x.ndim - 2), self.size)
        return x.gather(-1, index.expand(*x.shape[:-1], self.size))


@dataclass(frozen=True)
class Flip(Transform):
    """Turn an axis around, by chance.

    Args:
        p: Probability.
        axis: Which; the last one (left and right of a picture) if not given.
    """

    moves: ClassVar[bool] = True

    p: float = 0.5
    axis: int = -1

    def __post_init__(self) -> None:
        check_probability("p", self.p)

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        return torch.where(chance(keys, self.p, x), x.flip(self.axis), x)

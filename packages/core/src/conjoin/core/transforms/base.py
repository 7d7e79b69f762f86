# SPDX-License-Identifier: Apache-2.0
"""What a transform of a batch is, and how transforms make views.

Every draw is keyed by (sample, view, place in the chain), so a view depends on nothing but its sample and
the epoch: neither on the rank, the batch or the worker, nor on how often training was interrupted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from conjoin.core import random

__all__ = ("Transform", "ViewGroup", "Views", "chance", "check_probability", "check_range")


class Transform(ABC):
    """A keyed change of a whole batch; subclasses are frozen dataclasses of plain numbers.

    Attributes:
        moves: Whether cells change their place (crops, flips), rather than their values.
    """

    moves: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """Transform.

        Args:
            x: Floats (B, C, ...): any number of axes after the channels.
            keys: int64 (B,) on the same device; row ``i`` of the result depends on ``keys[i]`` alone.

        Returns:
            A new tensor (B, C, ...); ``x`` is left as it is.
        """


def chance(keys: Tensor, p: float, like: Tensor) -> Tensor:
    """Booleans (B, 1, ..., 1) that are True with probability ``p``, shaped to select rows of ``like``."""
    return (random.uniform(keys, 1)[:, 0] < p).view(-1, *[1] * (like.ndim - 1))


def check_probability(name: str, value: float) -> None:
    """Raise ``ValueError`` unless the value lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a probability in [0, 1], not {value}.")


def check_range(name: str, value: tuple[float, float], low: float, high: float) -> None:
    """Raise ``ValueError`` unless the two values ascend within (low, high]."""
    if not low < value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be two ascending numbers in ({low:g}, {high:g}], not {tuple(value)}.")


@dataclass(frozen=True)
class ViewGroup:
    """Views that are made alike.

    Args:
        count: How many.
        transforms: What is done for each, in order; draws differ between the views.
    """

    count: int = 1
    transforms: list[Transform] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"A group has at least one view, not {self.count}.")


@dataclass(frozen=True)
class Views:
    """The views of a sample: groups one after the other, global ones first.

    Args:
        groups: For SimCLR one group of two; for BYOL's unequal pair two groups of one; for multi-crop
            a group of two large crops and one of small ones.
    """

    groups: list[ViewGroup] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("Views needs at least one group.")

    @property
    def count(self) -> int:
        """Number V of views."""
        return sum(group.count for group in self.groups)

    @torch.no_grad()
    def __call__(self, x: Tensor, keys: Tensor) -> list[Tensor]:
        """Make the views.

        Args:
            x: Floats (B, C, ...).
            keys: int64 (B,), one per sample and epoch.

        Returns:
            V batches (B, C, ...), whose sizes may differ between groups.
        """
        return self._made(x, keys, lambda transform: True)

    @torch.no_grad()
    def places(self, x: Tensor, keys: Tensor) -> list[Tensor]:
        """Where the cells of the views come from.

        Coordinates go through the same crops and flips as the sample. At the rim of a crop that was resized
        they are those of the content that resampling mixed there, which lies a little further in.

        Args:
            x: The floats (B, C, ...) that :meth:`__call__` is given, with d axes after the channels.
            keys: The same keys.

        Returns:
            V float32 batches (B, d, ...): for each cell of a view its d coordinates in ``x``, in cells.
        """
        axes = [torch.arange(size, device=x.device, dtype=torch.float32) for size in x.shape[2:]]
        cells = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(x), -1, *x.shape[2:])
        return self._made(cells, keys, lambda transform: transform.moves)

    def _made(self, x: Tensor, keys: Tensor, wanted: Callable[[Transform], bool]) -> list[Tensor]:
        keys = keys.to(x.device)
        views: list[Tensor] = []
        # Resampling is a product of matrices, which autocast would do in half precision.
        with torch.autocast(x.device.type, enabled=False):
            for group in self.groups:
                for _ in range(group.count):
                    view = x
                    for place, transform in enumerate(group.transforms):
                        draw = random.key(0, "view", len(views), place)
                        view = transform(view, random.fold(draw, keys)) if wanted(transform) else view
                    views.append(view)
        return views

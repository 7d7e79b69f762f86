# SPDX-License-Identifier: Apache-2.0
"""Contiguous spans of a sequence: Point-JEPA's masking of ordered tokens (arXiv 2404.16432, section 3.2).

Targets are M spans of one length, which may overlap each other. The context is a contiguous piece of
the tokens in no target: contiguous in the list of those tokens, so that it may jump over a target.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.cells import (
    block_cells,
    check_count,
    check_grid,
    check_range,
    common_length,
    draw,
    place,
    stream,
)
from conjoin.core.random import randint

__all__ = ("IntervalMask",)


@dataclass(frozen=True)
class IntervalMask(MaskSampler):
    """M target spans and a contiguous context; the defaults are Point-JEPA's.

    Lengths are drawn once per batch, positions per sample. The context's length is a share of the
    smallest number of free tokens in the batch.

    Args:
        targets: Target spans M.
        target_scale: Range of a span's share of the sequence.
        context_scale: Range of the context's share of the free tokens; (1, 1) takes all that the
            batch's common length allows.
        min_keep: Tokens that the targets must leave free in every sample.

    Raises:
        ValueError: For a value out of its range.
    """

    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    context_scale: tuple[float, float] = (0.4, 0.75)
    min_keep: int = 1

    def __post_init__(self) -> None:
        check_count(self, "targets", self.targets, 1)
        check_count(self, "min_keep", self.min_keep, 1)
        check_range(self, "target_scale", self.target_scale, most=1.0)
        check_range(self, "context_scale", self.context_scale, most=1.0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a sequence that M disjoint spans of the largest length could fill."""
        check_grid(self, grid, dims=1)
        span = self._span(grid[0], 1.0)
        left = grid[0] - self.targets * span
        if left < self.min_keep:
            raise ValueError(
                f"IntervalMask: masks cannot fit in {grid[0]} tokens: {self.targets} spans of {span} may "
                f"leave {max(left, 0)} visible, but min_keep is {self.min_keep}; use fewer or shorter ones."
            )

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        self.check(grid)
        u, v = draw(step_key, "interval lengths", 2)
        span = (self._span(grid[0], u),)
        targets = block_cells(place(stream(keys, "interval place"), grid, span, self.targets), grid, span)
        hidden = torch.zeros(len(keys), grid[0], dtype=torch.int64, device=keys.device)
        hidden.scatter_(-1, targets.flatten(1), 1)
        free = grid[0] - hidden.sum(-1)
        low, high = self.context_scale
        length = max(1, int((low + v * (high - low)) * common_length(free)))
        start = randint(stream(keys, "context place"), 1, (free - length + 1).unsqueeze(-1))
        # A stable sort lists the free tokens first, in order.
        order = hidden.argsort(dim=-1, stable=True)
        return Masks(order.gather(-1, start + torch.arange(length, device=keys.device)), targets)

    def _span(self, length: int, number: float) -> int:
        low, high = self.target_scale
        return max(1, int(length * (low + number * (high - low))))

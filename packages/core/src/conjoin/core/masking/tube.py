# SPDX-License-Identifier: Apache-2.0
"""Tubes: spatial blocks repeated over time, V-JEPA's masking (Bardes et al. 2024, arXiv 2404.08471).

The predicted set is the union of several blocks of one size, each spanning all time steps or a part
of them; the context is everything else. V-JEPA uses two such samplers per batch: 8 blocks of 0.15
of the frame ("short") and 2 of 0.7 ("long").

The release cuts both sets to the batch's smallest lengths by their first indices, which keeps early
frames only; here they are cut by a random subset.
"""

import math
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
    draw_sides,
    extreme_sides,
    place,
    random_subset,
    stream,
)

__all__ = ("TubeMask",)


@dataclass(frozen=True)
class TubeMask(MaskSampler):
    """One target set, the union of spatial blocks over time, in a grid (time, height, width).

    Args:
        blocks: Blocks in the union.
        scale: Range of a block's share of one frame.
        aspect: Range of a block's height relative to its width.
        temporal_scale: Range of a block's share of the time steps.
        min_keep: A context must keep more tokens than this.
        rounds: How often a sample with too small a context is drawn anew before the last blocks of
            its union are given up.

    Raises:
        ValueError: For a value out of its range.
    """

    blocks: int = 8
    scale: tuple[float, float] = (0.15, 0.15)
    aspect: tuple[float, float] = (0.75, 1.5)
    temporal_scale: tuple[float, float] = (1.0, 1.0)
    min_keep: int = 0
    rounds: int = 20

    def __post_init__(self) -> None:
        check_count(self, "blocks", self.blocks, 1)
        check_count(self, "min_keep", self.min_keep, 0)
        check_count(self, "rounds", self.rounds, 0)
        check_range(self, "scale", self.scale, most=1.0)
        check_range(self, "aspect", self.aspect)
        check_range(self, "temporal_scale", self.temporal_scale, most=1.0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid in which one block alone hides too much."""
        check_grid(self, grid, dims=3)
        sides = (
            self._steps(grid[0], 1.0),
            *extreme_sides(grid[1:], self.scale, self.aspect)[1],
        )
        self._require_rest(grid, sides)

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        check_grid(self, grid, dims=3)
        u, *numbers = draw(step_key, "tube size", 3)
        sides = (self._steps(grid[0], u), *draw_sides(grid[1:], self.scale, self.aspect, numbers))
        self._require_rest(grid, sides)

        corners = place(stream(keys, "tube place"), grid, sides, self.blocks)
        hidden = _union(corners, grid, sides)
        small = (~hidden).sum(-1) <= self.min_keep
        for attempt in range(1, self.rounds + 1):
            if not bool(small.any()):
                break
            again = stream(keys[small], f"tube again {attempt}")
            corners[small] = place(again, grid, sides, self.blocks)
            hidden[small] = _union(corners[small], grid, sides)
            small = (~hidden).sum(-1) <= self.min_keep
        for kept in range(self.blocks - 1, 0, -1):
            if not bool(small.any()):
                break
            hidden[small] = _union(corners[small, :kept], grid, sides)
            small = (~hidden).sum(-1) <= self.min_keep
        counts = hidden.sum(-1)
        visible = common_length(math.prod(grid) - counts)
        predicted = common_length(counts)
        return Masks(
            random_subset(~hidden, stream(keys, "context subset"), visible),
            random_subset(hidden, stream(keys, "target subset"), predicted).unsqueeze(1),
        )

    def _steps(self, steps: int, number: float) -> int:
        low, high = self.temporal_scale
        return max(1, int(steps * (low + number * (high - low))))

    def _require_rest(self, grid: tuple[int, ...], sides: tuple[int, ...]) -> None:
        left = math.prod(grid) - math.prod(sides)
        if left <= self.min_keep:
            raise ValueError(
                f"TubeMask: masks cannot fit in a grid of {grid}: one block of {sides} leaves {left} tokens, "
                f"but more than min_keep={self.min_keep} must stay visible; lower scale or min_keep."
            )


def _union(corners: Tensor, grid: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """Cells in any of the blocks (B, M, d), as a map (B, N)."""
    hidden = torch.zeros(len(corners), math.prod(grid), dtype=torch.bool, device=corners.device)
    return hidden.scatter_(-1, block_cells(corners, grid, sides).flatten(1), True)

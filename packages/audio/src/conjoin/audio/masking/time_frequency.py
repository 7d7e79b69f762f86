# SPDX-License-Identifier: Apache-2.0
"""A-JEPA's masks (arXiv 2311.15830): what is heard shares no moment and no band with a target.

Sound is continuous in time and repeats itself over harmonics, so a hidden block of a spectrogram can be
guessed from patches of the same moment or the same band. Here the context leaves out, beside the targets,
every patch in a row or a column of one. That is much on a grid as narrow as 64 x 8: where too little would
stay visible the sample is drawn anew, targets included, and after ``rounds`` attempts the rule is dropped for
its last target, then for the last but one, and so on. Targets themselves are never visible.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking import Masks, MultiBlockMask
from conjoin.core.masking.cells import block_cells, extreme_sides

__all__ = ("TimeFrequencyMask", "shares_line")


@dataclass(frozen=True)
class TimeFrequencyMask(MultiBlockMask):
    """Target blocks whose rows and columns the context leaves out too; three of 5 to 7.5 % as in the paper.

    Args:
        targets: Target blocks M.
        target_scale: Range of a target's share of the grid.
        target_aspect: Range of a target's length in time relative to its height in bands.
        context_scale: Range of the context block's share of the grid, before anything is left out.
        context_aspect: The same as ``target_aspect`` for the context block; a side that would leave the grid
            is cut to it and the other grows.
        min_keep: A context must keep more tokens than this.
        allow_overlap: Leave everything in the context, targets as well.
        rounds: How often a sample with too small a context is drawn anew before the rule is dropped for its
            targets.

    Raises:
        ValueError: For a value out of its range.
    """

    targets: int = 3
    target_scale: tuple[float, float] = (0.05, 0.075)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid in which not even one target could be left out with its rows and columns."""
        super().check(grid)
        sides = extreme_sides(grid, self.target_scale, self.target_aspect)[0]
        left = math.prod(size - side for size, side in zip(grid, sides, strict=True))
        if not self.allow_overlap and left <= self.min_keep:
            raise ValueError(
                f"TimeFrequencyMask: masks cannot fit in a grid of {grid}: without the rows and columns of a "
                f"target of {sides} at most {left} tokens are left, but more than min_keep={self.min_keep} "
                "must stay visible; lower min_keep or target_scale, or use more (smaller) patches."
            )

    def _visible(
        self, grid: tuple[int, ...], target: tuple[int, ...], corners: Tensor, block: Tensor, kept: int
    ) -> Tensor:
        """The context block (B, N) without the targets and without the lines of the first ``kept``."""
        if self.allow_overlap:
            return block
        hidden = torch.zeros_like(block).scatter_(-1, block_cells(corners, grid, target).flatten(1), True)
        cells = torch.arange(block.shape[1], device=block.device)
        for axis in range(len(grid)):
            place = cells.div(math.prod(grid[axis + 1 :]), rounding_mode="floor") % grid[axis]
            start = corners[:, :kept, axis, None]
            hidden |= ((place >= start) & (place < start + target[axis])).any(dim=1)
        return block & ~hidden


def shares_line(masks: Masks, grid: tuple[int, ...]) -> Tensor:
    """Whether a context has a token in a row or column of a target, (B,): the rule was dropped for it."""
    context, targets = masks.as_grid(grid)
    hidden = targets.any(dim=1)
    rows = (context.any(dim=2) & hidden.any(dim=2)).any(dim=1)
    columns = (context.any(dim=1) & hidden.any(dim=1)).any(dim=1)
    return rows | columns

# SPDX-License-Identifier: Apache-2.0
"""Multi-block masking of I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243, section 3), in n dimensions.

Per batch one size for the target blocks and one for the context block; per sample their positions.
The context is its block without the cells of any target.

The release (facebookresearch/ijepa, commit 52c1ae9) never uses the last row and column and cuts long
contexts at the bottom; :class:`~conjoin.core.masking.official.OfficialMultiBlockMask` reproduces it.
Here instead

* blocks may lie against every border and span a whole side, so each cell can be context and target;
* contexts are cut to the batch's common length by a random subset;
* scale and aspect are drawn independently (the release uses one number for both);
* a sample whose context is too small is drawn anew as a whole, targets included.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.cells import (
    block_cells,
    block_map,
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

__all__ = ("MultiBlockMask",)


@dataclass(frozen=True)
class MultiBlockMask(MaskSampler):
    """Several target blocks and one large context block; the defaults are I-JEPA's released constants.

    Args:
        targets: Target blocks M.
        target_scale: Range of a target's share of the grid.
        target_aspect: Range of a target's side relative to the last axis' side, for each other axis.
        context_scale: Range of the context block's share of the grid.
        context_aspect: The same for the context block.
        min_keep: A context must keep more tokens than this.
        allow_overlap: Leave the target cells in the context.
        rounds: How often a sample with too small a context is drawn anew before its targets stop
            being taken out of the context, the last first.

    Raises:
        ValueError: For a value out of its range.
    """

    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    context_aspect: tuple[float, float] = (1.0, 1.0)
    min_keep: int = 10
    allow_overlap: bool = False
    rounds: int = 20

    def __post_init__(self) -> None:
        check_count(self, "targets", self.targets, 1)
        check_count(self, "min_keep", self.min_keep, 0)
        check_count(self, "rounds", self.rounds, 0)
        check_range(self, "target_scale", self.target_scale, most=1.0)
        check_range(self, "context_scale", self.context_scale, most=1.0)
        check_range(self, "target_aspect", self.target_aspect)
        check_range(self, "context_aspect", self.context_aspect)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid in which the smallest context block, or what one target leaves, is too small."""
        check_grid(self, grid)
        smallest = math.prod(extreme_sides(grid, self.context_scale, self.context_aspect)[0])
        if smallest <= self.min_keep:
            raise ValueError(
                f"MultiBlockMask: masks cannot fit in a grid of {grid}: a context block of scale "
                f"{self.context_scale[0]:g} has {smallest} tokens, but more than min_keep={self.min_keep} "
                "must stay visible; lower min_keep or use more (smaller) patches."
            )
        target = math.prod(extreme_sides(grid, self.target_scale, self.target_aspect)[1])
        left = math.prod(grid) - target
        if not self.allow_overlap and left <= self.min_keep:
            raise ValueError(
                f"MultiBlockMask: masks cannot fit in a grid of {grid}: a target of scale "
                f"{self.target_scale[1]:g} has {target} tokens and leaves {left}, but more than "
                f"min_keep={self.min_keep} must stay visible; lower min_keep or target_scale."
            )

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        numbers = draw(step_key, "block size", 2 * len(grid))
        target = draw_sides(grid, self.target_scale, self.target_aspect, numbers[: len(grid)])
        context = draw_sides(grid, self.context_scale, self.context_aspect, numbers[len(grid) :])

        corners, block = self._draw(grid, target, context, keys)
        visible = self._visible(grid, target, corners, block, self.targets)
        small = visible.sum(-1) <= self.min_keep
        for attempt in range(1, self.rounds + 1):
            if not bool(small.any()):
                break
            corners[small], block[small] = self._draw(
                grid, target, context, stream(keys[small], f"block again {attempt}")
            )
            visible = self._visible(grid, target, corners, block, self.targets)
            small = visible.sum(-1) <= self.min_keep
        for kept in range(self.targets - 1, -1, -1):
            if not bool(small.any()):
                break
            visible[small] = self._visible(grid, target, corners[small], block[small], kept)
            small = visible.sum(-1) <= self.min_keep
        counts = visible.sum(-1)
        length = common_length(counts)
        if length <= self.min_keep:
            self.check(grid)
            raise ValueError(
                f"MultiBlockMask: masks cannot fit in a grid of {grid}: a context keeps {length} tokens, but "
                f"more than min_keep={self.min_keep} must stay visible; lower min_keep."
            )
        return Masks(
            random_subset(visible, stream(keys, "context subset"), length),
            block_cells(corners, grid, target),
        )

    def _draw(
        self, grid: tuple[int, ...], target: tuple[int, ...], context: tuple[int, ...], keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Corners of the targets (B, M, d) and map of the context block (B, N)."""
        corners = place(stream(keys, "target place"), grid, target, self.targets)
        return corners, block_map(place(stream(keys, "context place"), grid, context, 1), grid, context)[:, 0]

    def _visible(
        self, grid: tuple[int, ...], target: tuple[int, ...], corners: Tensor, block: Tensor, kept: int
    ) -> Tensor:
        """The context block (B, N) without the first ``kept`` targets."""
        if self.allow_overlap or kept == 0:
            return block
        hidden = torch.zeros_like(block).scatter_(
            -1, block_cells(corners[:, :kept], grid, target).flatten(1), True
        )
        return block & ~hidden

# SPDX-License-Identifier: Apache-2.0
"""The masks of CNN-JEPA (Kalapos and Gyires-Toth 2024, arXiv 2408.07514): blocks or random cells, by a coin.

One coin for each batch. In the first case I-JEPA's target blocks are drawn and *merged*: the target is the
set of cells in any block, the context all the others. In the second a random share of the cells is the
target. Both cover the grid, so nothing is cut; where samples hide different numbers of cells the index lists
are padded.

``official=True`` repeats the habits of the release (kaland313/CNN-JEPA, commit f1b8135): one number sets
scale and aspect of a block, and unless a block spans a side its corner is drawn below ``grid - side`` instead
of up to it, so that the last row and column are never a target. The release keeps blocks in the context when
too little of it is left (they are then visible *and* predicted); here such a sample is drawn anew, and gives
up its last blocks if that does not help. On the paper's grid of 7 x 7 that never happens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking import Masks, MaskSampler
from conjoin.core.masking.cells import (
    block_cells,
    check_count,
    check_grid,
    check_range,
    draw,
    draw_sides,
    extreme_sides,
    place,
    stream,
)
from conjoin.core.random import permutation, randint

__all__ = ("MixedMask",)


@dataclass(frozen=True)
class MixedMask(MaskSampler):
    """Merged blocks with one probability, random cells otherwise; the numbers are CNN-JEPA's.

    Args:
        block_share: Probability that a batch is masked by blocks: 1 for blocks alone, 0 for random cells
            alone.
        targets: Blocks whose union is to be predicted.
        target_scale: Range of a block's share of the grid.
        target_aspect: Range of a block's height relative to its width.
        hidden: Share of the cells that random masking hides.
        min_keep: More cells than this must stay visible between blocks.
        official: Place and shape blocks as the release does.
        rounds: How often a sample with too small a context is drawn anew before it gives up blocks.

    Raises:
        ValueError: For a value out of its range.
    """

    block_share: float = 0.75
    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    hidden: float = 0.6
    min_keep: int = 5
    official: bool = False
    rounds: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.block_share <= 1:
            raise ValueError(f"MixedMask: block_share is {self.block_share}; it is a probability in [0, 1].")
        if not 0 < self.hidden < 1:
            raise ValueError(f"MixedMask: hidden is {self.hidden}; it is a share of the cells in (0, 1).")
        check_count(self, "targets", self.targets, 1)
        check_count(self, "min_keep", self.min_keep, 0)
        check_count(self, "rounds", self.rounds, 0)
        check_range(self, "target_scale", self.target_scale, most=1.0)
        check_range(self, "target_aspect", self.target_aspect)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid in which one block leaves too little, or random masking all or nothing."""
        check_grid(self, grid, dims=2)
        cells = math.prod(grid)
        if self.official:
            sides = max((self._sides(grid, (u, u)) for u in (0.0, 0.5, 1.0)), key=math.prod)
        else:
            sides = extreme_sides(grid, self.target_scale, self.target_aspect)[1]
        left = cells - math.prod(sides)
        if self.block_share > 0 and left <= self.min_keep:
            raise ValueError(
                f"MixedMask: masks cannot fit in a grid of {grid}: a block of {sides} leaves {left} cells, "
                f"but more than min_keep={self.min_keep} must stay visible; lower min_keep or target_scale, "
                "or use larger images or a smaller stride."
            )
        if self.block_share < 1 and not 0 < self._visible(cells) < cells:
            raise ValueError(
                f"MixedMask: masks cannot fit in a grid of {grid}: hiding {self.hidden:g} of {cells} cells "
                f"leaves {self._visible(cells)} visible; change hidden so that some are and some are not."
            )

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        if draw(step_key, "mixed mask", 1)[0] >= self.block_share:
            visible = self._visible(math.prod(grid))
            order = permutation(stream(keys, "random cells"), math.prod(grid))
            return Masks(order[:, :visible].sort().values, order[:, None, visible:].sort().values)
        sides = self._sides(grid, draw(step_key, "block size", 2))
        corners = self._place(stream(keys, "block place"), grid, sides)
        for attempt in range(1, self.rounds + 1):
            small = self._small(corners, grid, sides)
            if not bool(small.any()):
                break
            corners[small] = self._place(stream(keys[small], f"block again {attempt}"), grid, sides)
        for kept in range(self.targets - 1, 0, -1):
            small = self._small(corners, grid, sides)
            if not bool(small.any()):
                break
            corners[small, kept:] = corners[small, :1]  # a repeated block adds nothing to the union
        else:
            self.check(grid)
        return self.merge(grid, sides, corners)

    def merge(self, grid: tuple[int, ...], sides: tuple[int, ...], corners: Tensor) -> Masks:
        """The masks of given blocks.

        Args:
            grid: (rows, columns).
            sides: Height and width of the blocks.
            corners: (B, M, 2) long, their first row and column.

        Returns:
            One target set per sample, the union of its blocks; context is all the rest.
        """
        hidden = _union(corners, grid, sides)
        context, context_valid = _listed(~hidden)
        targets, targets_valid = _listed(hidden)
        return Masks(
            context,
            targets.unsqueeze(1),
            context_valid,
            None if targets_valid is None else targets_valid.unsqueeze(1),
        )

    def _small(self, corners: Tensor, grid: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
        return (~_union(corners, grid, sides)).sum(-1) <= self.min_keep

    def _sides(self, grid: tuple[int, ...], numbers: tuple[float, float] | list[float]) -> tuple[int, ...]:
        """Height and width of a batch's blocks for numbers in [0, 1]; the release uses the first for both."""
        if not self.official:
            return draw_sides(grid, self.target_scale, self.target_aspect, numbers)
        (low, high), (flat, tall) = self.target_scale, self.target_aspect
        cells = int(math.prod(grid) * (low + numbers[0] * (high - low)))
        aspect = flat + numbers[0] * (tall - flat)
        height, width = round(math.sqrt(cells * aspect)), round(math.sqrt(cells / aspect))
        return max(1, min(height, grid[0])), max(1, min(width, grid[1]))

    def _place(self, keys: Tensor, grid: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
        """Corners (B, M, 2) of the blocks."""
        if not self.official:
            return place(keys, grid, sides, self.targets)
        room = torch.tensor([max(1, g - s) for g, s in zip(grid, sides, strict=True)], device=keys.device)
        return randint(keys, 2 * self.targets, room.repeat(self.targets)).view(-1, self.targets, 2)

    def _visible(self, cells: int) -> int:
        """Visible cells of random masking; Python's rounding, as released."""
        return round(cells * (1 - self.hidden))


def _union(corners: Tensor, grid: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """Cells in any of the blocks (B, M, 2), as a map (B, N)."""
    hidden = torch.zeros(len(corners), math.prod(grid), dtype=torch.bool, device=corners.device)
    return hidden.scatter_(-1, block_cells(corners, grid, sides).flatten(1), True)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor | None]:
    """A map (B, N) as ascending indices (B, K), and which of them are real if rows differ in number."""
    counts = chosen.sum(-1)
    length = int(counts.max())
    # Stable: chosen cells first, in raster order; what follows in shorter rows is padding.
    index = chosen.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :length]
    valid = torch.arange(length, device=chosen.device) < counts.unsqueeze(-1)
    return index, None if bool(valid.all()) else valid

# SPDX-License-Identifier: Apache-2.0
"""One block: the ``block`` ablation of I-JEPA (arXiv 2301.08243) and the inverse block of V-JEPA 2."""

import math
from dataclasses import dataclass

from torch import Tensor

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.cells import (
    block_cells,
    block_map,
    check_grid,
    check_range,
    draw,
    draw_sides,
    extreme_sides,
    place,
    stream,
)

__all__ = ("BlockMask",)


@dataclass(frozen=True)
class BlockMask(MaskSampler):
    """Hide one block and see the rest, or see one block and predict the rest.

    All samples of a batch share the block's size, so nothing has to be cut.

    Args:
        scale: Range of the block's share of the grid.
        aspect: Range of a side relative to the last axis' side, for each other axis.
        inverse: The block is the context instead of the target.

    Raises:
        ValueError: For a value out of its range.
    """

    scale: tuple[float, float] = (0.5, 0.6)
    aspect: tuple[float, float] = (0.75, 1.5)
    inverse: bool = False

    def __post_init__(self) -> None:
        check_range(self, "scale", self.scale, most=1.0)
        check_range(self, "aspect", self.aspect)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid that the largest block would fill."""
        check_grid(self, grid)
        self._require_rest(grid, extreme_sides(grid, self.scale, self.aspect)[1])

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        sides = draw_sides(grid, self.scale, self.aspect, draw(step_key, "block size", len(grid)))
        self._require_rest(grid, sides)
        corners = place(stream(keys, "block place"), grid, sides, 1)
        block = block_cells(corners, grid, sides)
        outside = ~block_map(corners, grid, sides)
        count = math.prod(grid) - math.prod(sides)
        # Every row has `count` cells outside; a stable sort brings them forward in raster order.
        rest = outside.to(block.dtype).argsort(dim=-1, descending=True, stable=True)[..., :count]
        return Masks(block[:, 0], rest) if self.inverse else Masks(rest[:, 0], block)

    def _require_rest(self, grid: tuple[int, ...], sides: tuple[int, ...]) -> None:
        if math.prod(sides) == math.prod(grid):
            raise ValueError(
                f"BlockMask: masks cannot fit in a grid of {grid}: a block of {sides} fills it and leaves "
                "nothing outside; lower scale or use more (smaller) patches."
            )

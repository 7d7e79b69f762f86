# SPDX-License-Identifier: Apache-2.0
"""Random masking: hide a random share of the tokens and predict all of them.

With the default share U(0.4, 0.6), drawn once per batch, this is the alternative collator of the
I-JEPA release (src/masks/random.py); MAE's and TS-JEPA's masking are a fixed share of 0.75 and 0.7.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.cells import check_grid, check_range, draw, stream
from conjoin.core.random import permutation

__all__ = ("RandomMask",)


@dataclass(frozen=True)
class RandomMask(MaskSampler):
    """Context: a random subset; one target set: all the other tokens.

    Args:
        hidden: Range of the hidden share, one draw per batch.

    Raises:
        ValueError: For a value out of its range.
    """

    hidden: tuple[float, float] = (0.4, 0.6)

    def __post_init__(self) -> None:
        check_range(self, "hidden", self.hidden, most=1.0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid too small to both show and hide a token."""
        check_grid(self, grid)
        for share in self.hidden:
            self._visible(grid, share)

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        low, high = self.hidden
        visible = self._visible(grid, low + draw(step_key, "hidden share", 1)[0] * (high - low))
        order = permutation(stream(keys, "random mask"), math.prod(grid))
        return Masks(order[:, :visible].sort().values, order[:, None, visible:].sort().values)

    def _visible(self, grid: tuple[int, ...], share: float) -> int:
        cells = math.prod(grid)
        visible = int(
            cells * (1 - share) + 1e-9
        )  # 10 * (1 - 0.7) is 3.0000000000000004, 10 * (1 - 0.9) 0.99...
        if not 0 < visible < cells:
            raise ValueError(
                f"RandomMask: masks cannot fit in a grid of {grid}: hiding {share:g} of {cells} tokens "
                f"leaves {visible} visible; change hidden so that some are visible and some are not."
            )
        return visible

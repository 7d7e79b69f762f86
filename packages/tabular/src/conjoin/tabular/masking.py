# SPDX-License-Identifier: Apache-2.0
"""The masks of T-JEPA's release, where they differ from what they were meant to be.

The released collator shuffles one array in place and keeps views of it, so the four target sets of a row are
always the same set: effectively one. ``SubsetMask`` of core draws them independently; the sampler here
repeats one.
"""

from dataclasses import dataclass

from torch import Tensor

from conjoin.core.masking import Masks, SubsetMask

__all__ = ("RepeatedSubsetMask",)


@dataclass(frozen=True)
class RepeatedSubsetMask(SubsetMask):
    """``SubsetMask`` whose M target sets are one set M times, as released.

    Args:
        targets: How often the set is repeated.
        context_share: Range of the context's share of the columns.
        target_share: Range of the target set's share.

    Raises:
        ValueError: For a value out of its range.
    """

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        drawn = super().__call__(grid, keys, step_key)
        return Masks(drawn.context, drawn.targets[:, :1].expand(-1, self.targets, -1).contiguous())

# SPDX-License-Identifier: Apache-2.0
"""Which tokens are visible and which are to be predicted, in grids of any number of dimensions."""

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.block import BlockMask
from conjoin.core.masking.interval import IntervalMask
from conjoin.core.masking.multi_block import MultiBlockMask
from conjoin.core.masking.official import OfficialMultiBlockMask
from conjoin.core.masking.random import RandomMask
from conjoin.core.masking.subset import SubsetMask
from conjoin.core.masking.tube import TubeMask

__all__ = (
    "BlockMask",
    "IntervalMask",
    "MaskSampler",
    "Masks",
    "MultiBlockMask",
    "OfficialMultiBlockMask",
    "RandomMask",
    "SubsetMask",
    "TubeMask",
)

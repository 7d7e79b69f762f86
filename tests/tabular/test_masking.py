# SPDX-License-Identifier: Apache-2.0
import torch

from conjoin.core.masking import SubsetMask
from conjoin.core.random import fold, key
from conjoin.tabular import RepeatedSubsetMask

KEYS = fold(key(0, "test"), torch.arange(8))


def test_the_sets_of_a_row_are_one_set():
    repeated, independent = RepeatedSubsetMask(), SubsetMask()
    for step in range(5):
        masks, plain = repeated((12,), KEYS, step), independent((12,), KEYS, step)
        masks.validate((12,))
        assert masks.targets.shape == plain.targets.shape
        assert (masks.targets == masks.targets[:, :1]).all()
        assert torch.equal(masks.context, plain.context)
        assert torch.equal(masks.targets[:, 0], plain.targets[:, 0])
        assert masks.targets.is_contiguous()

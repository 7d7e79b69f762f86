# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.masking import SubsetMask
from conjoin.core.random import fold

KEYS = fold(9, torch.arange(96))


def test_subset_targets_differ_and_lengths_stay_within_the_shares():
    for step in range(40):
        masks = SubsetMask()((54,), KEYS[:8], step)
        assert 7 <= masks.context.shape[1] <= 20  # .136 * 54 = 7.3, .368 * 54 = 19.9
        assert 8 <= masks.targets.shape[2] <= 34  # .156 * 54 = 8.4, .622 * 54 = 33.6
        assert masks.context.shape[1] + masks.targets.shape[2] <= 54
        for sets in masks.targets.tolist():
            # Equal only where a set has to take all the other tokens.
            distinct = len({tuple(one) for one in sets})
            assert (distinct > 1) == (masks.context.shape[1] + masks.targets.shape[2] < 54)


def test_subset_targets_are_uniform_over_the_other_tokens():
    keys = fold(4, torch.arange(3000))
    masks = SubsetMask(targets=2, context_share=(0.3, 0.3), target_share=(0.3, 0.3))((10,), keys, 0)
    counts = torch.bincount(masks.targets.flatten(), minlength=10).double()
    # 3,000 * 2 * 3 hits over 10 cells; the sets of one sample exclude its context together.
    assert ((counts - 1800).abs() < 5 * math.sqrt(1800 * 2)).all()


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (SubsetMask(context_share=(0.6, 0.7), target_share=(0.5, 0.6)), (10,), "context has 6 .* target 5"),
    ],
)
def test_grids_in_which_masks_cannot_fit(sampler, grid, message):
    with pytest.raises(ValueError, match=message):
        sampler.check(grid)


def test_an_unchecked_call_fails_with_a_sentence_too():
    with pytest.raises(ValueError, match="masks cannot fit"):
        SubsetMask(context_share=(0.6, 0.7), target_share=(0.5, 0.6))((10,), KEYS, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"targets": 0},
        {"context_share": (0.0, 0.1)},
        {"target_share": (0.2, 0.1)},
    ],
)
def test_values_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"SubsetMask: {name}"):
        SubsetMask(**arguments)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.masking import BlockMask
from conjoin.core.random import fold

KEYS = fold(9, torch.arange(96))


def test_block_hides_a_block_and_shows_the_rest():
    for sampler in (BlockMask(), BlockMask(inverse=True)):
        masks = sampler((8, 8), KEYS, 3)
        context, targets = masks.as_grid((8, 8))
        assert (context ^ targets[:, 0]).all()
        block = context if sampler.inverse else targets[:, 0]
        sides = torch.stack((block.any(2).sum(1), block.any(1).sum(1)), 1)
        assert (sides == sides[0]).all()
        assert sides[0].prod() == block[0].sum()
    assert 0.3 < BlockMask()((8, 8), KEYS, 3).targets.shape[2] / 64 < 0.8


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (BlockMask(scale=(0.9, 1.0)), (4, 4), "fills it"),
    ],
)
def test_grids_in_which_masks_cannot_fit(sampler, grid, message):
    with pytest.raises(ValueError, match=message):
        sampler.check(grid)


def test_an_unchecked_call_fails_with_a_sentence_too():
    with pytest.raises(ValueError, match="masks cannot fit"):
        BlockMask(scale=(1.0, 1.0))((4, 4), KEYS, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": (0.0, 0.5)},
        {"aspect": (2.0, 1.0)},
    ],
)
def test_values_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"BlockMask: {name}"):
        BlockMask(**arguments)

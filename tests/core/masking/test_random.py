# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.masking import RandomMask
from conjoin.core.random import fold

KEYS = fold(9, torch.arange(96))


def test_random_hides_the_asked_share_and_all_the_rest_is_seen():
    masks = RandomMask(hidden=(0.7, 0.7))((10,), KEYS, 0)
    assert (masks.context.shape, masks.targets.shape) == ((96, 3), (96, 1, 7))
    assert RandomMask(hidden=(0.9, 0.9))((10,), KEYS, 0).context.shape == (96, 1)
    both = torch.cat((masks.context, masks.targets[:, 0]), 1).sort().values
    assert (both == torch.arange(10)).all()
    lengths = {RandomMask()((14, 14), KEYS[:1], step).context.shape[1] for step in range(200)}
    assert min(lengths) >= int(196 * 0.4)
    assert max(lengths) <= int(196 * 0.6)
    assert len(lengths) > 25


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (RandomMask(), (1,), "leaves 0 visible"),
        (RandomMask(hidden=(0.95, 0.95)), (10,), "leaves 0 visible"),
        (RandomMask(hidden=(0.5, 1.0)), (10,), "hiding 1 of 10"),
    ],
)
def test_grids_in_which_masks_cannot_fit(sampler, grid, message):
    with pytest.raises(ValueError, match=message):
        sampler.check(grid)


def test_an_unchecked_call_fails_with_a_sentence_too():
    with pytest.raises(ValueError, match="masks cannot fit"):
        RandomMask()((1,), KEYS, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"hidden": (0.5, 1.1)},
    ],
)
def test_values_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"RandomMask: {name}"):
        RandomMask(**arguments)

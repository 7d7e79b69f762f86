# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.masking import IntervalMask
from conjoin.core.random import fold

KEYS = fold(9, torch.arange(96))


def test_intervals_are_contiguous_and_the_context_jumps_only_over_targets():
    masks = IntervalMask()((64,), KEYS, 1)
    assert (masks.targets.diff(dim=-1) == 1).all()
    assert 9 <= masks.targets.shape[2] <= 12
    hidden = masks.as_grid((64,))[1].any(1)
    for row, context in zip(hidden, masks.context.tolist(), strict=True):
        missing = set(range(context[0], context[-1] + 1)) - set(context)
        assert all(row[cell] for cell in missing)


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (IntervalMask(), (4, 4), "1 axes"),
        (IntervalMask(targets=6), (12,), "6 spans of 2 may leave 0"),
    ],
)
def test_grids_in_which_masks_cannot_fit(sampler, grid, message):
    with pytest.raises(ValueError, match=message):
        sampler.check(grid)


def test_an_unchecked_call_fails_with_a_sentence_too():
    with pytest.raises(ValueError, match="masks cannot fit"):
        IntervalMask(targets=6)((12,), KEYS, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"targets": 0},
        {"min_keep": 0},
        {"target_scale": (0.5, 0.4)},
        {"context_scale": (0.5, 1.1)},
    ],
)
def test_values_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"IntervalMask: {name}"):
        IntervalMask(**arguments)

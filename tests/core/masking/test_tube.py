# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.masking import TubeMask
from conjoin.core.random import fold

KEYS = fold(9, torch.arange(96))


def test_tubes_span_all_frames_before_the_cut():
    # One sample alone is never cut: its target is the same set of places in every frame.
    for step in range(5):
        context, targets = TubeMask()((4, 8, 8), KEYS[step : step + 1], step).as_grid((4, 8, 8))
        assert (context ^ targets[:, 0]).all()
        assert (targets[0, 0] == targets[0, 0, :1]).all()


def test_tubes_in_time_have_the_asked_length():
    sampler = TubeMask(blocks=1, temporal_scale=(0.5, 0.5))
    starts = set()
    for targets in sampler((8, 6, 6), KEYS, 0).as_grid((8, 6, 6))[1][:, 0]:
        frames = targets.flatten(1).any(1).nonzero().flatten()
        assert frames.tolist() == list(range(int(frames[0]), int(frames[0]) + 4))
        starts.add(int(frames[0]))
    assert starts == set(range(5))


def test_tubes_are_given_up_where_they_would_hide_everything():
    sampler = TubeMask(blocks=6, scale=(0.55, 0.55), aspect=(1.0, 1.0), min_keep=8, rounds=2)
    # A block hides 3 x 3 of 4 x 4 places; two in opposite corners already leave 2 x 2 tokens.
    masks = sampler((2, 4, 4), KEYS, 0)
    masks.validate((2, 4, 4))
    assert masks.context.shape[1] > 8


def test_tube_cut_keeps_all_frames():
    masks = TubeMask()((8, 8, 8), KEYS, 0)
    frames = torch.bincount(masks.context.flatten() // 64, minlength=8).float()
    assert frames.min() / frames.max() > 0.85


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (TubeMask(scale=(1.0, 1.0)), (2, 4, 4), "leaves 0 tokens"),
        (TubeMask(min_keep=30), (2, 4, 4), "min_keep=30"),
        (TubeMask(), (4, 4), "3 axes"),
    ],
)
def test_grids_in_which_masks_cannot_fit(sampler, grid, message):
    with pytest.raises(ValueError, match=message):
        sampler.check(grid)


def test_an_unchecked_call_fails_with_a_sentence_too():
    with pytest.raises(ValueError, match="masks cannot fit"):
        TubeMask(scale=(1.0, 1.0))((2, 4, 4), KEYS, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"blocks": 0},
        {"scale": (0.5, 1.5)},
        {"aspect": (-1.0, 1.0)},
        {"temporal_scale": (0.0, 1.0)},
        {"min_keep": -1},
        {"rounds": -1},
    ],
)
def test_values_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"TubeMask: {name}"):
        TubeMask(**arguments)

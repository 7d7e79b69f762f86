# SPDX-License-Identifier: Apache-2.0
import math
import time

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from conjoin.core.masking import MultiBlockMask
from conjoin.core.random import fold, key

KEYS = fold(key(0, "mask", 0), torch.arange(512))
SMALL = MultiBlockMask(min_keep=4)


def rectangle(cells, grid):
    """Sides of the box around raster indices."""
    axes = torch.unravel_index(cells, grid)
    return tuple(int(axis.max() - axis.min()) + 1 for axis in axes)


@pytest.mark.parametrize("grid", [(14, 14), (16, 16), (10, 24), (4, 6, 6), (200,)])
def test_targets_are_blocks_of_one_size_and_the_context_avoids_them(grid):
    sampler = MultiBlockMask()
    sampler.check(grid)
    for step in range(3):
        masks = sampler(grid, KEYS[:32], step)
        masks.validate(grid)
        sides = rectangle(masks.targets[0, 0], grid)
        assert masks.targets.shape[1:] == (4, math.prod(sides))
        for sample in masks.targets:
            assert all(rectangle(block, grid) == sides for block in sample)
        assert masks.context.shape[1] > 10
        assert 0.1 < math.prod(sides) / math.prod(grid) < 0.25


@given(
    st.lists(st.integers(2, 12), min_size=1, max_size=3).map(tuple), st.integers(1, 5), st.integers(0, 2**40)
)
@settings(max_examples=60, deadline=None)
def test_any_grid_that_passes_the_check_gets_masks(grid, targets, seed):
    sampler = MultiBlockMask(targets=targets, min_keep=2)
    try:
        sampler.check(grid)
    except ValueError:
        assume(False)
    masks = sampler(grid, fold(seed, torch.arange(6)), seed)
    # Where four targets can cover the context the fallback may give some up: overlap is then allowed.
    masks.validate(grid, disjoint=math.prod(grid) > 2 * targets * masks.targets.shape[-1] + 2)
    assert masks.context.shape[1] > 2


def test_every_cell_is_reached_and_no_side_is_preferred():
    grid = (8, 8)
    seen = torch.zeros(2, *grid)
    for step in range(24):
        context, targets = SMALL(grid, fold(step, torch.arange(256)), step).as_grid(grid)
        seen += torch.stack((context.float().sum(0), targets.any(1).float().sum(0)))
    share = seen / (24 * 256)
    # Rarest: for targets the corners, for contexts the centre. Nothing is near 0.
    assert share[0].min() > 0.1
    assert share[1].min() > 0.08
    for turned in (share.flip(1), share.flip(2), share.flip(1, 2)):
        assert (share - turned).abs().max() < 0.03


def test_length_trimming_takes_rows_evenly():
    """The release keeps the first indices, which empties the lower rows; a random subset does not."""
    masks = MultiBlockMask()((14, 14), KEYS, 1)
    rows = torch.bincount(masks.context.flatten() // 14, minlength=14).float()
    assert rows.min() > 0
    assert 0.8 < rows[:7].sum() / rows[7:].sum() < 1.25


def test_a_sample_does_not_depend_on_its_batch():
    whole = SMALL((8, 8), KEYS[:40], 5)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled = SMALL((8, 8), KEYS[:40][order], 5)
    assert torch.equal(shuffled.context, whole.context[order])
    assert torch.equal(shuffled.targets, whole.targets[order])
    part = SMALL((8, 8), KEYS[10:20], 5)
    assert torch.equal(part.targets, whole.targets[10:20])
    # Only the length of the context is shared: a shorter list is a subset of the longer.
    for short, long in zip(whole.context[10:20].tolist(), part.context.tolist(), strict=True):
        assert set(short) <= set(long)


def test_sizes_follow_the_step_key_and_places_the_sample_keys():
    sizes = {SMALL((16, 16), KEYS[:2], step).targets.shape[-1] for step in range(30)}
    assert len(sizes) > 3
    masks = SMALL((16, 16), KEYS[:64], 0)
    assert len(set(masks.targets[:, :, 0].flatten().tolist())) > 50
    again = SMALL((16, 16), KEYS[:64], 0)
    assert torch.equal(masks.context, again.context)


def test_global_generators_are_left_alone():
    before = torch.random.get_rng_state()
    SMALL((8, 8), KEYS[:4], 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_overlap_is_allowed_on_request():
    masks = MultiBlockMask(allow_overlap=True)((14, 14), KEYS[:8], 0)
    masks.validate((14, 14), disjoint=False)
    assert masks.context.shape[1] >= 13 * 13
    with pytest.raises(ValueError, match="is a target"):
        masks.validate((14, 14))


def test_small_contexts_are_drawn_anew():
    """On a small grid four targets often leave too little; redraws keep the context free of targets."""
    grid, sampler = (6, 6), MultiBlockMask(min_keep=12)
    without = MultiBlockMask(min_keep=12, rounds=0)(grid, KEYS, 3)
    masks = sampler(grid, KEYS, 3)
    masks.validate(grid)
    assert masks.context.shape[1] > 12
    with pytest.raises(ValueError, match="is a target"):
        without.validate(grid)
    # Samples that were good at once keep their places.
    same = (masks.targets == without.targets).all(-1).all(-1)
    assert 0.1 < same.float().mean() < 1.0


def test_the_last_targets_are_given_up_first():
    grid, sampler = (4, 4), MultiBlockMask(min_keep=10, target_scale=(0.3, 0.3), target_aspect=(1.0, 1.0))
    sampler.check(grid)
    masks = sampler(grid, KEYS[:64], 0)
    context, targets = masks.as_grid(grid)
    shared = (context.unsqueeze(1) & targets).flatten(2).any(-1).float().mean(0)
    assert masks.context.shape[1] > 10
    assert shared[3] > shared[0]


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (MultiBlockMask(), (3, 3), "9 tokens, but more than min_keep=10"),
        (MultiBlockMask(), (0, 3), "token grid"),
        (MultiBlockMask(target_scale=(0.9, 0.95)), (6, 6), "leaves 0|leaves 1|leaves 6"),
    ],
)
def test_check_names_the_numbers(sampler, grid, message):
    with pytest.raises(ValueError, match=message):
        sampler.check(grid)


def test_an_unchecked_grid_fails_with_the_same_sentence():
    with pytest.raises(ValueError, match="masks cannot fit"):
        MultiBlockMask()((3, 3), KEYS[:2], 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"targets": 0},
        {"min_keep": -1},
        {"rounds": -1},
        {"target_scale": (0.0, 0.2)},
        {"target_scale": (0.3, 0.2)},
        {"context_scale": (0.85, 1.01)},
        {"target_aspect": (0.0, 1.0)},
        {"context_aspect": (1.0, math.inf)},
        {"target_scale": (math.nan, 0.2)},
    ],
)
def test_values_out_of_range(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"MultiBlockMask: {name}"):
        MultiBlockMask(**arguments)


def share_of(rank, world, count):
    """The masks that rank ``rank`` draws for its uneven part of one batch."""
    first = count // 3
    mine = KEYS[:first] if rank == 0 else KEYS[first:count]
    masks = SMALL((8, 8), mine, 11)
    return masks.context, masks.targets


@pytest.mark.ddp
def test_two_ranks_draw_the_masks_of_one_process(ddp):
    parts = ddp(share_of, 60)
    whole = SMALL((8, 8), KEYS[:60], 11)
    assert torch.equal(torch.cat([context for context, _ in parts]), whole.context)
    assert torch.equal(torch.cat([targets for _, targets in parts]), whole.targets)


@pytest.mark.gpu
def test_cuda_draws_the_same_masks():
    ours, theirs = SMALL((8, 8), KEYS, 2), SMALL((8, 8), KEYS.cuda(), 2)
    assert theirs.context.is_cuda
    assert torch.equal(ours.context, theirs.context.cpu())
    assert torch.equal(ours.targets, theirs.targets.cpu())


def test_speed(capsys):
    sampler, times = MultiBlockMask(), []
    for step in range(12):
        start = time.perf_counter()
        sampler((14, 14), KEYS[:256], step)
        times.append(time.perf_counter() - start)
    with capsys.disabled():
        print(f"\nMultiBlockMask, 256 samples of 14x14: {min(times) * 1e3:.1f} ms at best")
    assert min(times) < 0.03

# SPDX-License-Identifier: Apache-2.0
import collections
import math

import pytest
import torch

from conjoin.core import random
from conjoin.core.checkpoint import build, describe
from conjoin.vision import MixedMask

KEYS = random.fold(random.key(0, "test"), torch.arange(64))
BLOCKS, RANDOM = MixedMask(block_share=1.0, official=True), MixedMask(block_share=0.0)
PAPER = (7, 7)


def sets(masks):
    """Context and target cells of each sample, padding left out."""
    context, targets = masks.as_grid(PAPER)
    assert targets.shape[1] == 1
    return context, targets[:, 0]


def released_corner(grid, side):
    """How the release draws one coordinate, from torch's global generator."""
    return 0 if side == grid else int(torch.randint(0, grid - side, (1,)))


def test_golden_mask_of_the_release():
    """Its sampler, fresh, under torch.manual_seed(0), for one image: recorded by running it."""
    u = float(torch.rand(1, generator=torch.Generator().manual_seed(1)))
    sides = BLOCKS._sides(PAPER, (u, u))
    assert sides == (3, 3)
    torch.manual_seed(0)
    corners = [[released_corner(7, sides[0]), released_corner(7, sides[1])] for _ in range(4)]
    target = sets(BLOCKS.merge(PAPER, sides, torch.tensor([corners])))[1][0]
    expected = torch.zeros(7, 7, dtype=torch.bool)
    expected[[0, 4, 5], 3:6] = True
    expected[1:4, 0:6] = True
    assert torch.equal(target, expected)


def test_shares_of_the_releases_block_sizes():
    found = collections.Counter(BLOCKS._sides(PAPER, (u, u)) for u in torch.rand(3000).tolist())
    shares = {sides: count / 3000 for sides, count in found.items()}
    expected = {(3, 3): 0.62, (2, 3): 0.20, (4, 3): 0.10, (4, 2): 0.08}
    assert set(shares) == set(expected)
    for sides, share in expected.items():
        assert shares[sides] == pytest.approx(share, abs=0.04)


def test_blocks_of_the_paper_are_exact_complements_without_the_last_row_and_column():
    context_cells, target_cells = 0, 0
    for step in range(50):
        masks = BLOCKS(PAPER, random.fold(random.key(step, "keys"), KEYS), random.key(step, "step"))
        masks.validate(PAPER)
        context, target = sets(masks)
        assert torch.equal(context, ~target)
        assert not target[:, 6].any()
        assert not target[:, :, 6].any()
        assert (target.flatten(1).sum(1) > 5).all()
        context_cells += int(context.sum())
        target_cells += int(target.sum())
    assert context_cells / 3200 == pytest.approx(27.6, abs=0.8)
    assert target_cells / 3200 == pytest.approx(21.4, abs=0.8)


def test_without_the_releases_habits_every_cell_is_hidden_sometimes():
    masks = MixedMask(block_share=1.0)(PAPER, KEYS, 3)
    context, target = sets(masks)
    assert torch.equal(context, ~target)
    assert target.any(0).all()


def test_random_masks_hide_29_of_49_cells():
    masks = RANDOM(PAPER, KEYS, 5)
    masks.validate(PAPER)
    assert masks.context.shape == (64, 20)
    assert masks.targets.shape == (64, 1, 29)
    assert masks.context_valid is None
    assert masks.targets_valid is None
    assert len({tuple(row) for row in masks.context.tolist()}) == 64
    # Python rounds halves to the even number: 2.5 to 2.
    assert MixedMask(block_share=0.0, hidden=0.5)((1, 5), KEYS, 0).context.shape == (64, 2)


def test_one_coin_for_a_batch():
    mixed, blocks = MixedMask(), 0
    for step in range(400):
        masks = mixed(PAPER, KEYS[:8], random.key(step, "step"))
        is_random = masks.targets.shape[2] == 29 and masks.targets_valid is None
        blocks += not is_random
        if is_random:
            assert torch.equal(masks.context, RANDOM(PAPER, KEYS[:8], 0).context)
    assert blocks / 400 == pytest.approx(0.75, abs=0.07)


def test_masks_of_a_sample_do_not_depend_on_its_batch():
    mask = MixedMask(block_share=1.0)
    whole = sets(mask(PAPER, KEYS, 3))
    part = sets(mask(PAPER, KEYS[10:20], 3))
    for ours, theirs in zip(part, whole, strict=True):
        assert torch.equal(ours, theirs[10:20])


@pytest.mark.parametrize("rounds", [0, 20])
@pytest.mark.parametrize("official", [False, True])
def test_small_grids_keep_a_context(rounds, official):
    """Four blocks of a quarter of 16 cells can hide all: such samples are drawn anew or lose blocks."""
    mask = MixedMask(block_share=1.0, target_scale=(0.25, 0.25), min_keep=9, rounds=rounds, official=official)
    for step in range(20):
        masks = mask((4, 4), KEYS, step)
        context, target = masks.as_grid((4, 4))
        assert torch.equal(context, ~target[:, 0])
        assert (context.flatten(1).sum(1) > 9).all()
        assert (target.flatten(1).sum(1) >= 3).all()


def test_a_block_may_span_a_side():
    mask = MixedMask(
        block_share=1.0, target_scale=(0.5, 0.5), target_aspect=(2.0, 2.0), min_keep=2, official=True
    )
    assert mask._sides((4, 6), (0.5, 0.5)) == (4, 2)
    assert mask((4, 6), KEYS, 0).as_grid((4, 6))[1][:, 0, :, :].any(2).all()


def test_is_described_by_plain_values():
    mask = MixedMask(0.5, official=True)
    assert build(describe(mask)) == mask


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"block_share": 1.1}, "block_share is 1.1"),
        ({"hidden": 1.0}, "hidden is 1.0"),
        ({"targets": 0}, "targets is 0"),
        ({"min_keep": -1}, "min_keep is -1"),
        ({"rounds": -1}, "rounds is -1"),
        ({"target_scale": (0.3, 0.2)}, "target_scale is"),
        ({"target_aspect": (0.0, 1.0)}, "target_aspect is"),
    ],
)
def test_values_out_of_range(options, words):
    with pytest.raises(ValueError, match=words):
        MixedMask(**options)


def test_grids_that_do_not_fit():
    with pytest.raises(ValueError, match="2 axes"):
        MixedMask().check((7,))
    for official in (False, True):
        with pytest.raises(ValueError, match=r"grid of \(2, 3\): a block of .* leaves 5 cells"):
            MixedMask(official=official).check((2, 3))
    with pytest.raises(ValueError, match=r"hiding 0\.9 of 4 cells leaves 0 visible"):
        MixedMask(block_share=0.5, min_keep=1, hidden=0.9).check((2, 2))
    MixedMask(block_share=0.0).check((2, 2))
    assert math.prod(BLOCKS._sides((2, 3), (0.0, 0.0))) == 1

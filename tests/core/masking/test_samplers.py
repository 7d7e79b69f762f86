# SPDX-License-Identifier: Apache-2.0
"""What all samplers promise."""

import dataclasses

import pytest
import torch

from conjoin.core import masking
from conjoin.core.masking import (
    BlockMask,
    IntervalMask,
    MultiBlockMask,
    OfficialMultiBlockMask,
    RandomMask,
    SubsetMask,
    TubeMask,
)
from conjoin.core.random import fold

CASES = [
    (MultiBlockMask(min_keep=4), (8, 8)),
    (MultiBlockMask(min_keep=4), (64,)),
    (MultiBlockMask(min_keep=4), (4, 6, 6)),
    (OfficialMultiBlockMask(min_keep=4), (8, 8)),
    (BlockMask(scale=(0.15, 0.2)), (8, 8)),
    (BlockMask(scale=(0.2, 0.3), inverse=True), (6, 10)),
    (TubeMask(), (4, 8, 8)),
    (TubeMask(blocks=2, scale=(0.7, 0.7)), (4, 8, 8)),
    (TubeMask(temporal_scale=(0.25, 0.75)), (8, 6, 6)),
    (IntervalMask(), (64,)),
    (RandomMask(), (8, 8)),
    (RandomMask(hidden=(0.7, 0.7)), (10,)),
    (SubsetMask(), (12,)),
    (SubsetMask(context_share=(0.2, 0.9), target_share=(0.2, 0.9)), (30,)),
]
KEYS = fold(9, torch.arange(96))
IDS = [f"{type(sampler).__name__}-{'x'.join(map(str, grid))}" for sampler, grid in CASES]


@pytest.mark.parametrize(("sampler", "grid"), CASES, ids=IDS)
class TestEverySampler:
    def test_masks_are_valid_and_disjoint(self, sampler, grid):
        sampler.check(grid)
        for step in range(4):
            masks = sampler(grid, KEYS, step)
            masks.validate(grid)
            assert len(masks) == 96
            assert masks.context.shape[1] > 0
            assert masks.targets.shape[2] > 0
            assert masks.context_valid is None

    def test_every_cell_is_reached(self, sampler, grid):
        """By context and targets both, but for what the sampler cannot reach by its nature."""
        reachable = [torch.ones(grid, dtype=torch.bool), torch.ones(grid, dtype=torch.bool)]
        if isinstance(sampler, OfficialMultiBlockMask):  # the release never uses the last row and column
            for part in reachable:
                part[-1] = part[:, -1] = False
        if sampler == TubeMask(blocks=2, scale=(0.7, 0.7)):  # blocks of 6 x 6 always hide the centre of 8 x 8
            reachable[0][:, 2:6, 2:6] = False
        seen = [torch.zeros(grid, dtype=torch.bool), torch.zeros(grid, dtype=torch.bool)]
        for step in range(12):
            context, targets = sampler(grid, fold(step, torch.arange(96)), step).as_grid(grid)
            seen[0] |= context.any(0)
            seen[1] |= targets.any(1).any(0)
        assert torch.equal(seen[0], reachable[0])
        assert torch.equal(seen[1], reachable[1])

    def test_order_and_repetition_change_nothing(self, sampler, grid):
        masks = sampler(grid, KEYS, 1)
        turned = sampler(grid, KEYS.flip(0), 1)
        assert torch.equal(turned.context, masks.context.flip(0))
        assert torch.equal(turned.targets, masks.targets.flip(0))
        assert not torch.equal(sampler(grid, fold(10, KEYS), 1).context, masks.context)

    def test_samples_differ(self, sampler, grid):
        contexts = sampler(grid, KEYS, 2).context.tolist()
        targets = sampler(grid, KEYS, 2).targets.flatten(1).tolist()
        assert len({(*c, *t) for c, t in zip(contexts, targets, strict=True)}) > 10

    def test_it_is_a_frozen_dataclass_of_plain_numbers(self, sampler, grid):
        again = type(sampler)(**dataclasses.asdict(sampler))
        assert again == sampler
        assert hash(again) == hash(sampler)
        with pytest.raises(dataclasses.FrozenInstanceError):
            sampler.__setattr__(dataclasses.fields(sampler)[0].name, 1)


def parts(rank, world, case):
    sampler, grid = CASES[case]
    masks = sampler(grid, KEYS[:31] if rank == 0 else KEYS[31:], 4)
    return masks.context, masks.targets


@pytest.mark.ddp
@pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)
def test_two_ranks_draw_what_one_process_draws(ddp, case):
    sampler, grid = CASES[case]
    whole = sampler(grid, KEYS, 4)
    (c0, t0), (c1, t1) = ddp(parts, case)
    assert torch.equal(torch.cat((c0, c1)), whole.context)
    assert torch.equal(torch.cat((t0, t1)), whole.targets)


def test_all_public_samplers_are_covered():
    tested = {type(sampler).__name__ for sampler, _ in CASES}
    assert tested == set(masking.__all__) - {"Masks", "MaskSampler"}

# SPDX-License-Identifier: Apache-2.0
"""Values recorded from the I-JEPA release: facebookresearch/ijepa, 52c1ae9, src/masks/multiblock.py."""

import pytest
import torch

from conjoin.core.masking import OfficialMultiBlockMask
from conjoin.core.masking.official import _sides
from conjoin.core.random import fold, seeded

SAMPLER = OfficialMultiBlockMask()


@pytest.mark.parametrize(
    ("side", "targets", "contexts"),
    [
        (14, [(6, 6), (7, 5), (7, 5)], [13, 13, 13]),
        (16, [(7, 6), (8, 6), (7, 6)], [15, 15, 15]),
        (28, [(12, 11), (14, 11), (13, 11)], [27, 26, 27]),
    ],
)
def test_block_sizes(side, targets, contexts):
    for seed in range(3):
        u, v = torch.rand(2, generator=torch.Generator().manual_seed(seed)).tolist()
        assert _sides((side, side), (0.15, 0.2), (0.75, 1.5), u) == targets[seed]
        assert _sides((side, side), (0.85, 1.0), (1.0, 1.0), v) == (contexts[seed], contexts[seed])


def test_two_batches():
    with seeded(0):
        torch.manual_seed(0)
        first, second = (SAMPLER.sample((14, 14), seed, [torch.default_generator] * 2) for seed in range(2))
    assert first.context.shape == (2, 59)
    assert first.context.sum() == 8462
    assert first.context[0, :12].tolist() == list(range(12))
    assert first.context[0, -5:].tolist() == [155, 156, 157, 158, 159]
    assert first.context[1, :12].tolist() == [0, 1, 2, 3, 10, 11, 12, 14, 15, 16, 17, 24]
    assert first.targets.shape == (2, 4, 36)
    assert first.targets.sum((0, 2)).tolist() == [7560, 7488, 7344, 4608]
    assert first.targets[:, :, 0].tolist() == [[63, 70, 45, 49], [72, 63, 84, 4]]
    assert (second.context.shape, second.targets.shape) == ((2, 76), (2, 4, 35))


def test_the_last_row_and_column_are_never_used():
    masks = SAMPLER((14, 14), fold(1, torch.arange(64)), 3)
    masks.validate((14, 14))
    context, targets = masks.as_grid((14, 14))
    used = context.any(0) | targets.any(1).any(0)
    assert not used[13].any()
    assert not used[:, 13].any()
    assert used[:13, :13].all()


def test_keyed_calls_repeat_and_leave_global_generators_alone():
    keys = fold(2, torch.arange(6))
    state = torch.random.get_rng_state()
    whole = SAMPLER((14, 14), keys, -5)
    assert torch.equal(SAMPLER((14, 14), keys, -5).context, whole.context)
    assert torch.equal(SAMPLER((14, 14), keys[2:4], -5).targets, whole.targets[2:4])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_after_twenty_failures_the_last_target_is_given_up():
    sampler = OfficialMultiBlockMask(min_keep=4, target_scale=(0.4, 0.4), target_aspect=(1.0, 1.0))
    masks = sampler((6, 6), fold(5, torch.arange(64)), 0)
    context, targets = masks.as_grid((6, 6))
    shared = (context.unsqueeze(1) & targets).flatten(2).any(-1).float().mean(0)
    assert masks.context.shape[1] > 4
    assert shared[3] > shared[0]


def test_overlap_on_request():
    masks = OfficialMultiBlockMask(allow_overlap=True)((14, 14), fold(5, torch.arange(4)), 0)
    assert masks.context.shape[1] == 169


def test_refusals():
    with pytest.raises(ValueError, match="target block may have only 9 tokens and more than min_keep=10"):
        SAMPLER.check((8, 8))
    with pytest.raises(ValueError, match="2 axes"):
        SAMPLER.check((8, 8, 8))
    with pytest.raises(ValueError, match="masks cannot fit"):
        SAMPLER.sample((4, 4), 0, [torch.Generator()])
    with pytest.raises(ValueError, match="targets is 0"):
        OfficialMultiBlockMask(targets=0)
    with pytest.raises(ValueError, match="min_keep is -1"):
        OfficialMultiBlockMask(min_keep=-1)
    for name in ("target_scale", "context_scale", "target_aspect"):
        with pytest.raises(ValueError, match=name):
            OfficialMultiBlockMask(**{name: (0.0, 0.5)})

# SPDX-License-Identifier: Apache-2.0
import math
import random as python_random
from collections import Counter

import pytest
import torch

from conjoin.biosignal.masking import RunMask
from conjoin.core.random import fold, key


def sample(batches, size, sampler=None, grid=(200,)):
    for number in range(batches):
        keys = fold(key(0, "test", number), torch.arange(size))
        yield (sampler or RunMask())(grid, keys, key(1, "step", number))


def runs(targets):
    """Lengths of the hidden runs of one sample."""
    lengths, previous = [], None
    for index in targets:
        if previous is not None and index == previous + 1:
            lengths[-1] += 1
        else:
            lengths.append(1)
        previous = index
    return lengths


def test_a_thousand_masks():
    shares = set()
    for masks in sample(125, 8):
        masks.validate((200,))
        kept = masks.context.shape[1]
        shares.add(kept)
        assert 31 <= kept <= 50
        assert masks.targets.shape == (8, 1, 200 - kept)
        for context, (targets,) in zip(masks.context.tolist(), masks.targets.tolist(), strict=True):
            assert context == sorted(context)
            assert targets == sorted(targets)
            assert sorted(context + targets) == list(range(200))
            assert min(runs(targets)) >= 10
    assert len(shares) > 15


def by_interval_lists(wanted, rng, length=200, least=10):
    """The paper's procedure on a list of visible intervals, patch by patch, for comparison."""
    intervals, hidden = [(0, length)], set()
    while len(hidden) < wanted:
        left = wanted - len(hidden)
        weights = [end - start for start, end in intervals]
        start, end = intervals.pop(rng.choices(range(len(intervals)), weights)[0])
        size = rng.randint(least, left) if left >= least else left
        if end - start <= size:
            hidden |= set(range(start, end))
            continue
        if left >= least:
            at = rng.randint(start, end - size)
        else:
            at = rng.choice([*([start] if start > 0 else []), *([end - size] if end < length else [])])
        hidden |= set(range(at, at + size))
        intervals += [piece for piece in ((start, at), (at + size, end)) if piece[1] > piece[0]]
    return sorted(hidden)


def test_has_the_distribution_of_the_procedure():
    rng = python_random.Random(0)
    sampler = RunMask(keep=(0.2, 0.2))
    ours, theirs, place, expected = Counter(), Counter(), torch.zeros(200), torch.zeros(200)
    (masks,) = sample(1, 3000, sampler)
    for (targets,) in masks.targets.tolist():
        ours[min(len(runs(targets)), 5)] += 1
        place[targets] += 1
        reference = by_interval_lists(160, rng)
        theirs[min(len(runs(reference)), 5)] += 1
        expected[reference] += 1
    for number in range(1, 6):
        # Five standard deviations of the difference of two counts.
        spread = math.sqrt(2 * 3000 * 0.25)
        assert abs(ours[number] - theirs[number]) < 5 * spread
    assert ((place - expected).abs() / 3000).max() < 0.06
    assert (place - expected).mean().abs() < 1e-3


def test_a_sample_does_not_depend_on_its_batch():
    keys = fold(key(0, "test"), torch.arange(16))
    whole = RunMask()((200,), keys, 5)
    assert torch.equal(RunMask()((200,), keys[3:4], 5).targets, whole.targets[3:4])
    assert not torch.equal(RunMask()((200,), keys, 6).context, whole.context)


def test_other_lengths_and_blocks():
    for masks in sample(20, 8, RunMask(keep=(0.3, 0.5), min_block=3), (50,)):
        masks.validate((50,))
        assert 15 <= masks.context.shape[1] <= 25
        assert all(min(runs(targets)) >= 3 for (targets,) in masks.targets.tolist())


def test_guards():
    with pytest.raises(ValueError, match=r"keeping 0.25 of them hides 9, but a run has at least 10"):
        RunMask().check((12,))
    with pytest.raises(ValueError, match="needs 1 axes"):
        RunMask().check((8, 8))
    with pytest.raises(ValueError, match="keep is"):
        RunMask(keep=(0.5, 0.2))
    with pytest.raises(ValueError, match="min_block is 0"):
        RunMask(min_block=0)

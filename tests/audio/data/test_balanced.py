# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import sound_files
import torch

from conjoin.audio import AudioSet
from conjoin.audio.data.balanced import BalancedSampler, clip_weights

# Nine clips of the first label, one of the second, none of the third, one without any.
LABELS = np.zeros((11, 3), np.float32)
LABELS[:9, 0] = 1
LABELS[9, 1] = 1


def test_weights_are_sums_over_labels():
    both = np.concatenate([LABELS, [[1, 1, 0]]]).astype(np.float32)
    np.testing.assert_allclose(clip_weights(both), [*[1 / 10] * 9, 1 / 2, 0, 1 / 10 + 1 / 2])


def test_rare_labels_come_as_often_as_common_ones():
    sampler = BalancedSampler(clip_weights(LABELS), 1, seed=1)
    drawn = np.concatenate([sampler.order(epoch) for epoch in range(1000)])
    counts = np.bincount(drawn, minlength=11) / len(drawn)
    assert counts[10] == 0
    assert counts[9] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(counts[:9], 0.5 / 9, atol=0.01)


def test_order_is_keyed_and_shared_over_ranks():
    weights = torch.ones(12)
    one = BalancedSampler(weights, 4, seed=1)
    assert one.order(3) == BalancedSampler(weights, 4, seed=1).order(3)
    assert one.order(3) != one.order(4)
    assert one.order(3) != BalancedSampler(weights, 4, seed=2).order(3)
    # Two ranks with batches of 2 see, batch by batch, what one process with batches of 4 does.
    first, second = (
        [key.index for key in BalancedSampler(weights, 2, seed=1, num_replicas=2, rank=rank)]
        for rank in range(2)
    )
    assert len(first) == len(second) == 6
    together = [first[at : at + 2] + second[at : at + 2] for at in (0, 2, 4)]
    assert [index for part in together for index in part] == one.order(0)


def test_audioset_uses_it_in_training_alone(tmp_path):
    root = sound_files.audioset(tmp_path)
    data = AudioSet(root, batch_size=2, balanced=True, seed=0)
    assert isinstance(data.train_dataloader().sampler, BalancedSampler)
    assert not isinstance(data.evaluation_dataloader("train").sampler, BalancedSampler)
    assert not isinstance(AudioSet(root, batch_size=2).train_dataloader().sampler, BalancedSampler)
    assert next(iter(data.train_dataloader()))["x"].shape == (2, 160_000)


def test_guards():
    with pytest.raises(ValueError, match="needs clips with labels: all weights are 0"):
        BalancedSampler(torch.zeros(4), 2)

# SPDX-License-Identifier: Apache-2.0
import random as python_random

import numpy as np
import pytest
import torch

from conjoin.core.data import CorruptSampleError, KeyedDataset, KeyedSampler, SampleKey


def batches(sampler):
    items = list(sampler)
    return [items[i : i + sampler.batch_size] for i in range(0, len(items), sampler.batch_size)]


def test_epochs_are_different_permutations():
    sampler = KeyedSampler(20, 4)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(k.index for k in first) == sorted(k.index for k in second) == list(range(20))
    assert [k.index for k in first] != [k.index for k in second]
    assert {k.epoch for k in second} == {1}
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_ranks_share_the_batches_of_one_process():
    one = batches(KeyedSampler(50, 8))
    ranks = [batches(KeyedSampler(50, 4, num_replicas=2, rank=r)) for r in range(2)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == one
    assert len(one) == 6


@pytest.mark.parametrize("size", [1, 2, 5, 16, 17, 21])
def test_evaluation_covers_everything_in_equal_steps(size):
    samplers = [
        KeyedSampler(size, 4, shuffle=False, drop_last=False, num_replicas=3, rank=r, evaluation=True)
        for r in range(3)
    ]
    lists = [list(s) for s in samplers]
    assert {k.index for keys in lists for k in keys} == set(range(size))
    assert len({len(keys) for keys in lists}) == 1
    assert all(len(keys) == len(s) for keys, s in zip(lists, samplers, strict=True))
    assert len({len(batches(s)) for s in samplers}) == 1
    assert len(batches(samplers[0])) == samplers[0].num_batches


def test_evaluation_always_draws_epoch_zero():
    sampler = KeyedSampler(6, 2, shuffle=False, evaluation=True)
    sampler.set_epoch(9)
    assert list(sampler) == [SampleKey(i, 0) for i in range(6)]


def test_start_batch_skips_what_was_seen():
    whole = batches(KeyedSampler(30, 4))
    late = KeyedSampler(30, 4)
    late.start_batch = 3
    assert batches(late) == whole[3:]
    assert len(late) == 28


def test_too_few_samples_for_a_batch_is_said_before_training():
    with pytest.raises(ValueError, match="7 training samples do not fill one global batch of 8"):
        KeyedSampler(7, 4, num_replicas=2)


def test_rank_is_checked():
    with pytest.raises(ValueError, match="rank"):
        KeyedSampler(8, 2, rank=1)


class Numbers(torch.utils.data.Dataset):
    def __init__(self, size=10, broken=()):
        self.size, self.broken = size, set(broken)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index in self.broken:
            raise CorruptSampleError(f"number {index} is unreadable.")
        return float(index), index % 2


def noise(x):
    return x, torch.rand(()).item(), python_random.random(), np.random.rand()


def test_augmentation_is_a_function_of_the_key():
    data = KeyedDataset(Numbers(), noise, seed=3)
    a = data[SampleKey(4, 2)]["x"]
    torch.rand(5), python_random.random(), np.random.rand()
    assert data[SampleKey(4, 2)]["x"] == a
    others = [
        data[SampleKey(4, 3)]["x"],
        data[SampleKey(5, 2)]["x"],
        KeyedDataset(Numbers(), noise)[SampleKey(4, 2)]["x"],
    ]
    assert all(o[1:] != a[1:] for o in others)


def test_augmentation_leaves_the_global_generators_alone():
    data = KeyedDataset(Numbers(), noise)
    torch.manual_seed(0), python_random.seed(0), np.random.seed(0)
    expected = noise(0)[1:]
    torch.manual_seed(0), python_random.seed(0), np.random.seed(0)
    data[SampleKey(1, 1)]
    assert noise(0)[1:] == expected


def test_items_become_dictionaries():
    sample = KeyedDataset(Numbers())[SampleKey(3, 1)]
    assert sample == {"x": 3.0, "label": 1, "index": 3, "epoch": 1}
    assert KeyedDataset([torch.ones(2)])[0].keys() == {"x", "index", "epoch"}
    assert KeyedDataset([{"x": 1, "text": "a"}])[0]["text"] == "a"


def test_corrupt_samples_are_named_and_replaced():
    data = KeyedDataset(Numbers(broken=[2, 3]))
    with pytest.warns(UserWarning, match="number 2 is unreadable"):
        sample = data[SampleKey(2, 0)]
    assert sample["index"] == 4
    assert data[SampleKey(2, 0)]["x"] == 4.0


def test_too_many_corrupt_samples_stop_the_run():
    data = KeyedDataset(Numbers(broken=range(5)), max_corrupt=3)
    with (
        pytest.warns(UserWarning, match="Skipped an unreadable sample"),
        pytest.raises(RuntimeError, match=r"max_corrupt=3.*number 3 is unreadable"),
    ):
        data[SampleKey(0, 0)]


def test_nothing_readable():
    with (
        pytest.warns(UserWarning, match="Skipped an unreadable sample"),
        pytest.raises(RuntimeError, match="No sample"),
    ):
        KeyedDataset(Numbers(size=2, broken=[0, 1]))[0]

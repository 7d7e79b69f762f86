# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.data import KeyedDataset, KeyedLoader, KeyedSampler


def jitter(x):
    return x + torch.rand(())


def loader(workers=0, epoch=0):
    data = KeyedDataset([torch.tensor(float(i)) for i in range(23)], jitter)
    sampler = KeyedSampler(23, 4)
    sampler.set_epoch(epoch)
    return KeyedLoader(data, batch_size=4, sampler=sampler, num_workers=workers, drop_last=True)


def take(iterator, count):
    return [next(iterator)["x"] for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("consumed", [0, 1, 3])
def test_resumes_where_training_stopped_whatever_workers_prepared(workers, consumed):
    whole = [batch["x"] for batch in loader(epoch=2)]
    first = loader(workers, epoch=2)
    iterator = iter(first)
    seen = take(iterator, consumed)
    state = first.state_dict()
    assert state == {"epoch": 2, "received": consumed}

    second = loader(workers)
    second.load_state_dict(state)
    rest = [batch["x"] for batch in second]
    assert len(seen) + len(rest) == len(whole) == 5
    assert all(torch.equal(a, b) for a, b in zip(seen + rest, whole, strict=True))


def test_after_the_resumed_epoch_comes_a_whole_one():
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "received": 4})
    assert len(list(resumed)) == 1
    resumed.sampler.set_epoch(2)
    assert torch.equal(next(iter(resumed))["x"], next(iter(loader(epoch=2)))["x"])


def test_an_exhausted_epoch_resumes_with_the_next():
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "received": 5})
    assert torch.equal(next(iter(resumed))["x"], next(iter(loader(epoch=2)))["x"])


def test_length_is_that_of_a_whole_epoch():
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "received": 3})
    assert len(resumed) == 5


def test_a_foreign_sampler_hands_out_epoch_zero():
    """``Trainer.predict`` replaces the sampler by one over bare indices."""
    data = KeyedDataset([torch.tensor(float(i)) for i in range(6)])
    batches = list(KeyedLoader(data, batch_size=4))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(6))
    assert torch.cat([batch["epoch"] for batch in batches]).tolist() == [0] * 6

# SPDX-License-Identifier: Apache-2.0
"""Renderings that vote: as training would make them, in evaluation alone, always the same."""

import pytest
import torch

from conjoin.core import random
from conjoin.core.data import DataModule, Looks, Voting


class Noisy(DataModule):
    """Drawn upon twice in training: by a worker for each sample, and by key for each batch."""

    num_classes = 3

    def build(self, split):
        return [(torch.full((4,), float(n)), n % 3) for n in range(7)]

    @staticmethod
    def train_transform(x):
        return x + 0.4 * torch.rand(())

    def batch_transform(self, batch, train):
        if not train:
            return batch | {"x": batch["x"] - 1000}
        keys = random.fold(random.key(self.seed, "noise"), batch["epoch"] * 2**32 + batch["index"])
        return batch | {"x": batch["x"] + 100 * random.uniform(keys, 1)}


@pytest.fixture
def data():
    return Voting(Noisy(4, seed=5), votes=3)


def batches(data):
    return list(data.evaluation_dataloader("test"))


def test_each_sample_has_its_renderings_and_its_plain_look(data):
    first, last = batches(data)
    assert first["look_counts"].tolist() == [3] * 4
    assert last["look_counts"].tolist() == [3] * 3
    looks = torch.cat([first["looks"], last["looks"]]).view(7, 3, 4)
    x = torch.cat([first["x"], last["x"]])
    assert torch.equal(x, torch.arange(7.0).view(7, 1).expand(7, 4) - 1000)
    # Both draws are there, of this sample, and each look has its own.
    for index in range(7):
        keys = random.fold(random.key(5, "noise"), torch.arange(3) * 2**32 + index)
        noise = looks[index, :, 0] - 100 * random.uniform(keys, 1)[:, 0] - index
        assert bool(((noise > -1e-4) & (noise < 0.4001)).all())
        assert len(set(noise.round(decimals=4).tolist())) == 3
    again = batches(Voting(Noisy(7, seed=5), votes=3))[0]["looks"]
    assert torch.equal(again.view(7, 3, 4), looks)
    assert not torch.equal(batches(Voting(Noisy(7, seed=6), votes=3))[0]["looks"].view(7, 3, 4), looks)


def test_training_is_as_without(data):
    for a, b in zip(data.train_dataloader(), Noisy(4, seed=5).train_dataloader(), strict=True):
        assert set(a) == set(b)
        assert torch.equal(data.batch_transform(a, True)["x"], Noisy(4, seed=5).batch_transform(b, True)["x"])


def test_windows_of_the_wrapped_module_give_way_to_renderings():
    inner = Noisy(7, seed=5)
    inner.eval_transform = lambda x: Looks(x[:4], x.view(2, 2))
    (batch,) = batches(Voting(inner, votes=2))
    assert batch["x"].shape == (7, 4)
    assert batch["looks"].shape == (14, 4)


def test_votes_are_counted(data):
    assert Voting(Noisy()).votes == 10
    with pytest.raises(ValueError, match="votes must be at least 1, not 0"):
        Voting(Noisy(), votes=0)

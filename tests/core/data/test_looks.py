# SPDX-License-Identifier: Apache-2.0
"""Unequal numbers of looks in one batch, and means that belong to the right sample."""

import pytest
import torch

from conjoin.core.data import DataModule, Looks
from conjoin.core.data.looks import collate, mean_of_looks, over_looks

COUNTS = (3, 1, 4)


def samples():
    """Three samples of 3, 1 and 4 looks; the middle one was not cut at all."""
    looks = [torch.randn(count, 2, 5) for count in COUNTS]
    found = [{"x": Looks(look[0], look), "label": n} for n, look in enumerate(looks)]
    found[1]["x"] = looks[1][0]
    return looks, found


def test_a_batch_holds_the_looks_of_one_sample_after_another():
    looks, found = samples()
    batch = collate(found)
    assert torch.equal(batch["x"], torch.stack([look[0] for look in looks]))
    assert torch.equal(batch["looks"], torch.cat(looks))
    assert batch["look_counts"].tolist() == list(COUNTS)
    assert batch["label"].tolist() == [0, 1, 2]


def test_samples_that_are_looked_at_once_make_a_plain_batch():
    batch = collate([{"x": torch.ones(3), "label": 4}, {"x": torch.zeros(3), "label": 5}])
    assert set(batch) == {"x", "label"}
    assert batch["x"].shape == (2, 3)


def test_rows_and_means_are_those_of_a_loop():
    looks, found = samples()
    batch = collate(found)
    sizes = []

    def function(x):
        sizes.append(len(x))
        return x.flatten(1).bfloat16(), x.mean(dim=(1, 2))

    rows, means = over_looks(batch, function)
    assert max(sizes) == 3  # never more at a time than there are samples
    assert rows.dtype == torch.float32
    torch.testing.assert_close(means, torch.cat(looks).mean(dim=(1, 2)))
    averaged = mean_of_looks(means, batch["look_counts"])
    torch.testing.assert_close(averaged, torch.stack([look.mean() for look in looks]))
    assert averaged[1] == looks[1].mean()


class Cut(DataModule):
    """Recordings of 6, 4 and 10 numbers, seen two at a time."""

    def build(self, split):
        return [torch.arange(float(n)) for n in (6, 4, 10)]

    @staticmethod
    def eval_transform(x):
        return Looks(x[:2], x.view(-1, 2))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_evaluation_transform_reaches_every_evaluation_loader(workers):
    data = Cut(batch_size=3, num_workers=workers)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.evaluation_dataloader("train")):
        (batch,) = loader
        assert batch["look_counts"].tolist() == [3, 2, 5]
        assert batch["looks"].shape == (10, 2)
        assert torch.equal(batch["x"], torch.tensor([[0.0, 1.0]] * 3))

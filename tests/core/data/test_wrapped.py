# SPDX-License-Identifier: Apache-2.0
"""A wrapper that changes nothing is not to be told from what it wraps."""

import pytest
import torch

from conjoin.core.data import DataModule
from conjoin.core.data.wrapped import Wrapped


class Late(DataModule):
    """Knows its classes when it has been read, and has a name that wrappers do not know."""

    rate = 100
    prepared = stage = None

    def build(self, split):
        self.num_classes, self.class_names = 2, ("a", "b")
        return [(torch.full((3,), float(n)), n % 2) for n in range(8)]

    @staticmethod
    def train_transform(x):
        return x + torch.rand(())

    def batch_transform(self, batch, train):
        return batch | {"x": batch["x"] * (10 if train else 100)}

    def prepare_data(self):
        self.prepared = True

    def setup(self, stage):
        self.stage = stage


def test_batches_classes_and_attributes_are_the_wrapped_modules():
    inner, data = Late(4, seed=3, eval_batch_size=8), Wrapped(Late(4, seed=3, eval_batch_size=8))
    for a, b in zip(inner.train_dataloader(), data.train_dataloader(), strict=True):
        assert torch.equal(inner.batch_transform(a, True)["x"], data.batch_transform(b, True)["x"])
    (a,), (b,) = (module.evaluation_dataloader("val") for module in (inner, data))
    assert torch.equal(a["x"], b["x"])
    assert (data.num_classes, data.class_names, data.rate) == (2, ("a", "b"), 100)
    data.prepare_data()
    data.setup("fit")
    assert (data.data.prepared, data.data.stage) == (True, "fit")


def test_what_neither_has_is_missing():
    with pytest.raises(AttributeError, match="tempo"):
        _ = Wrapped(Late()).tempo

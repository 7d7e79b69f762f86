# SPDX-License-Identifier: Apache-2.0
"""A data module of one method: what its four loaders hand out."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import TensorDataset

from conjoin.core import random
from conjoin.core.data import DataModule


class Numbers(DataModule):
    """Twenty training samples, seven of each other split; ``x`` is the position."""

    def __init__(self, **options):
        super().__init__(**options)
        self.built = []

    def build(self, split):
        self.built.append(split)
        count = 20 if split == "train" else 7
        return TensorDataset(torch.arange(float(count)), torch.arange(count) % 3)

    @staticmethod
    def train_transform(x):
        return x + torch.rand(())

    def batch_transform(self, batch, train):
        return batch | {"trained": torch.full((len(batch["x"]),), train)}


def columns(loader, *names):
    batches = list(loader)
    return [torch.cat([batch[name] for batch in batches]).tolist() for name in names]


def test_training_is_shuffled_whole_batches_of_augmented_samples():
    data = Numbers(batch_size=6, seed=1)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(3)
    index, epoch, x = columns(loader, "index", "epoch", "x")
    assert len(index) == 18
    assert index != sorted(index)
    assert len(set(index)) == 18
    assert set(epoch) == {3}
    assert all(0 <= value - position < 1 for value, position in zip(x, index, strict=True))
    again = data.train_dataloader()
    again.sampler.set_epoch(3)
    assert columns(again, "index", "x") == [index, x]


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_is_in_order_complete_and_plain(split):
    data = Numbers(batch_size=4, eval_batch_size=5, seed=1)
    for loader in (getattr(data, f"{split}_dataloader")(), data.evaluation_dataloader(split)):
        assert next(iter(loader))["x"].shape == (5,)
        index, epoch, x, label = columns(loader, "index", "epoch", "x", "label")
        assert index == list(range(7)) == x
        assert epoch == [0] * 7
        assert label == [0, 1, 2, 0, 1, 2, 0]


def test_evaluation_of_the_training_split_is_neither_shuffled_nor_augmented():
    index, x = columns(Numbers(batch_size=6, seed=1).evaluation_dataloader("train"), "index", "x")
    assert index == x == list(range(20))


def test_the_batch_transform_is_told_whether_it_is_training(tmp_path):
    class Look(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight, self.seen = torch.nn.Parameter(torch.ones(())), {}

        def training_step(self, batch, batch_idx):
            self.seen["train"] = batch["trained"].tolist()
            return self.weight * 1

        def validation_step(self, batch, batch_idx):
            self.seen["val"] = batch["trained"].tolist()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    model = Look()
    options = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        default_root_dir=tmp_path,
        **options,
        val_check_interval=1,
    )
    trainer.fit(model, Numbers(batch_size=4, seed=1))
    assert model.seen["train"] == [True] * 4
    assert not any(model.seen["val"])
    data = Numbers(batch_size=4, seed=1)
    assert not any(columns(data.evaluation_dataloader("train"), "trained")[0])  # without a Trainer too


def test_a_split_is_built_once():
    data = Numbers(batch_size=4, seed=1)
    data.val_dataloader(), data.evaluation_dataloader("val"), data.predict_dataloader()
    assert data.built == ["val", "test"]


def test_the_runs_seed_is_the_default(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "13")
    assert Numbers(batch_size=4).seed == random.default_seed() == 13


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"num_workers": -1}, "num_workers must not be negative, not -1"),
    ],
)
def test_guards(options, words):
    with pytest.raises(ValueError, match=words):
        Numbers(**options)
    with pytest.raises(ValueError, match="split must be one of"):
        Numbers(batch_size=4).dataset("valid")
    with pytest.raises(ValueError, match="lower batch_size or add data"):
        Numbers(batch_size=21).train_dataloader()

# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
import torch

from conjoin import samples
from conjoin.vision.data import Emoji, Fashion, ScatteredFashion
from conjoin.vision.transforms import denormalize


def test_fashion_is_the_embedded_set():
    data = Fashion(batch_size=50)
    batch = next(iter(data.evaluation_dataloader("val")))
    assert batch["x"].shape == (50, 1, 28, 28)
    pixels = denormalize(batch["x"], data.mean, data.std)[:, 0] * 255
    assert np.abs(pixels.numpy() - samples.fashion().validation.images[:50]).max() < 0.01
    assert batch["label"].tolist() == samples.fashion().validation.labels[:50].tolist()
    assert data.num_classes == 10
    large = next(iter(Fashion(32, 3, batch_size=2, scale=(0.5, 1.0)).evaluation_dataloader("test")))
    assert large["x"].shape == (2, 3, 32, 32)


def rendered(data, epoch, train=True):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batch = next(iter(loader))
    return batch["index"], data.batch_transform(batch, train)["x"]


@pytest.fixture(scope="module")
def few():
    def make(**options):
        return ScatteredFashion(batch_size=options.pop("batch_size", 32), **options)

    return make


def test_training_canvases_are_new_in_each_epoch_and_keyed(few):
    _, first = rendered(few(seed=1), 0)
    assert torch.equal(rendered(few(seed=1), 0)[1], first)
    assert first.shape == (32, 1, 64, 64)
    data = few(seed=1)
    loader = data.train_dataloader()
    batch = next(iter(loader))
    later = data.batch_transform(batch | {"epoch": batch["epoch"] + 1}, True)["x"]
    fixed = data.batch_transform(batch, False)["x"]
    for other in (later, fixed):
        assert (other != first).flatten(1).any(1).all()
    assert not torch.equal(rendered(few(seed=2), 0)[1], first)
    # A canvas does not depend on its batch.
    alone = data.batch_transform({name: value[5:6] for name, value in batch.items()}, True)["x"]
    assert torch.equal(alone[0], first[5])
    assert "canvas" not in data.batch_transform(batch, True)


def test_evaluation_canvases_are_the_same_for_every_run(few):
    def first(split, **options):
        return next(iter(few(**options).evaluation_dataloader(split)))

    a = first("test", seed=1)
    b = first("test", seed=2, batch_size=7)
    assert torch.equal(a["x"][:7], b["x"])
    assert a["label"].tolist() == samples.fashion().test.labels[:32].tolist()
    # No two splits share a background: the corner pixels differ though the index is the same.
    corners = [first(split)["x"][:, 0, :3, :3] for split in ("train", "val", "test")]
    assert (corners[0] != corners[2]).flatten(1).any(1).all()
    assert (corners[1] != corners[2]).flatten(1).any(1).all()


def test_statistics_of_the_canvases(few):
    x = next(iter(few(batch_size=512).evaluation_dataloader("train")))["x"]
    assert abs(x.mean()) < 0.1
    assert 0.85 < x.std() < 1.15


def test_workers_give_the_same_samples(few):
    assert torch.equal(rendered(few(seed=1, num_workers=2), 0)[1], rendered(few(seed=1), 0)[1])


def test_emoji_pairs():
    data = Emoji(batch_size=16)
    train = data.dataset("train")
    count = len(samples.emoji().train)
    assert len(train) == 2 * count
    a, b = train[10], train[10 + count]
    assert a["pair"] == b["pair"]
    assert (a["vendor"], b["vendor"]) == (0, 1)
    assert a["caption"] == b["caption"] == samples.emoji().train.captions[10]
    assert not torch.equal(a["x"], b["x"])
    assert (a["x"].permute(1, 2, 0).numpy() == samples.emoji().train.images[10, 0]).all()
    only = Emoji(vendor="twitter").dataset("train")
    assert len(only) == count
    assert torch.equal(only[10]["x"], b["x"])
    gray = next(iter(Emoji(32, 1, batch_size=16).evaluation_dataloader("test")))
    assert gray["x"].shape == (16, 1, 32, 32)
    assert data.num_classes == 9
    x = torch.cat([batch["x"] for batch in Emoji(batch_size=600).evaluation_dataloader("train")])
    assert x.mean().abs() < 0.02
    assert abs(x.std() - 1) < 0.03


def test_bad_options(monkeypatch):
    with pytest.raises(ValueError, match=r"vendor must be 'both' or one of"):
        Emoji(vendor="apple")
    monkeypatch.setitem(sys.modules, "conjoin.samples", None)
    monkeypatch.delattr("conjoin.samples")
    with pytest.raises(ImportError, match=r"distribution conjoin-samples: python -m pip install"):
        Fashion()

# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
import torch

from conjoin import samples
from conjoin.audio import EmbeddedSounds


@pytest.mark.parametrize(
    ("name", "sizes", "classes"), [("words", (960, 140, 300), 20), ("notes", (400, 80, 160), 16)]
)
def test_is_the_embedded_set(name, sizes, classes):
    data = EmbeddedSounds(name, batch_size=16)
    assert tuple(len(data.dataset(split)) for split in ("train", "val", "test")) == sizes
    assert data.num_classes == len(data.class_names) == classes
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (16, 1, 96, 64)
    np.testing.assert_array_equal(batch["label"], samples.sounds(name).test.labels[:16])
    # The statistics are those of the training clips: standardised by two deviations.
    train = next(iter(EmbeddedSounds(name, eval_batch_size=400).evaluation_dataloader("train")))["x"]
    assert train.mean().abs() < 0.05
    assert train.std() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["words", "notes"])
def test_repetition_fills_the_second(name):
    quiet, full = (EmbeddedSounds(name, fill=fill, batch_size=400) for fill in ("silence", "repeat"))
    before, after = quiet.dataset("test")[3]["x"].numpy(), full.dataset("test")[3]["x"].numpy()
    first, last = np.flatnonzero(before)[[0, -1]]
    period = last - first + 1
    for start in range(0, len(after), period):  # another derivation: copy by copy
        part = after[start : start + period]
        np.testing.assert_array_equal(part, before[first : first + len(part)])
    train = next(iter(full.evaluation_dataloader("train")))["x"]
    assert train.mean().abs() < 0.05
    assert train.std() == pytest.approx(0.5, abs=0.05)
    assert full.raw_features(next(iter(full.evaluation_dataloader("val")))).shape[1] == 128


def test_training_batches_are_keyed():
    def batch(seed):
        data = EmbeddedSounds("notes", batch_size=8, seed=seed)
        return data.batch_transform(next(iter(data.train_dataloader())), train=True)["x"]

    assert torch.equal(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))


def test_guards(monkeypatch):
    with pytest.raises(ValueError, match="no embedded sounds 'birds'; choose words or notes"):
        EmbeddedSounds("birds")
    with pytest.raises(ValueError, match="fill must be silence or repeat, not 'zeros'"):
        EmbeddedSounds(fill="zeros")
    monkeypatch.setitem(sys.modules, "conjoin.samples", None)
    monkeypatch.delattr("conjoin.samples")
    with pytest.raises(ImportError, match=r"distribution conjoin-samples: python -m pip install"):
        EmbeddedSounds()

# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
import torch

from conjoin import samples
from conjoin.biosignal import EEGTrials, SimulatedECG


def test_simulated_ecg_is_the_embedded_set():
    data = SimulatedECG(window=500, batch_size=40)
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (40, 12, 500)
    raw, train = samples.ecg().test.signals[:40], samples.ecg().train.signals
    mean, std = (f(train, axis=(0, 2))[:, None] for f in (np.mean, np.std))
    np.testing.assert_allclose(batch["x"], ((raw - mean) / std).clip(-5, 5), atol=1e-3)
    assert data.num_classes == len(data.class_names) == 20
    assert sorted(set(batch["label"].tolist())) == list(range(20))


def test_labels_say_what_the_names_say():
    data = SimulatedECG()
    dataset = data.dataset("val")
    assert len(data.label_names) == 7
    for index in range(20):
        rhythm, shape = data.class_names[dataset[index]["label"]].split(", ")
        on = {name for name, flag in zip(data.label_names, dataset[index]["labels"], strict=True) if flag}
        assert on == {rhythm, shape} - {"sinus", "normal"}
    for classes, count in (("rhythm", 5), ("morphology", 4)):
        chosen = SimulatedECG(classes=classes)
        assert chosen.num_classes == count
        assert set(chosen.dataset("val").fields["label"].tolist()) == set(range(count))


def test_training_crops_are_keyed():
    def batch(seed, epoch=0):
        loader = SimulatedECG(batch_size=8, seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))

    assert batch(1)["x"].shape == (8, 12, 400)
    assert torch.equal(batch(1)["x"], batch(1)["x"])
    assert not torch.equal(batch(1)["x"], batch(2)["x"])
    assert not torch.equal(batch(1)["x"], batch(1, epoch=1)["x"])


def slow(data):
    """Share of the power below 0.5 Hz."""
    x = data.dataset("val").fields["x"].double()
    power = torch.fft.rfft(x - x.mean(dim=2, keepdim=True)).abs().square().mean(dim=(0, 1))
    return float(power[:3].sum() / power.sum())


def test_wander_comes_and_the_filter_takes_it_away():
    plain, wandering = slow(SimulatedECG()), slow(SimulatedECG(wander=0.5))
    assert wandering > 3 * plain
    assert slow(SimulatedECG(wander=0.5, highpass=0.5)) < wandering / 3
    again = SimulatedECG(wander=0.5).dataset("val").fields["x"]
    assert torch.equal(again, SimulatedECG(wander=0.5, seed=9).dataset("val").fields["x"])


def test_eeg_trials():
    data = EEGTrials(batch_size=16)
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (16, 6, 448)
    assert data.class_names == ("negativity", "positivity")
    x = data.dataset("train").fields["x"]
    assert x.mean().abs() < 0.02
    assert x.std() == pytest.approx(1, abs=0.1)
    fingers = EEGTrials("finger_movements", window=40, batch_size=4)
    assert next(iter(fingers.train_dataloader()))["x"].shape == (4, 28, 40)


def test_guards(monkeypatch):
    for window in (0, 501):
        with pytest.raises(
            ValueError, match=f"window must lie between 1 and the 500 samples .* not {window}"
        ):
            SimulatedECG(window)
    with pytest.raises(ValueError, match="window must lie between 1 and the 448 samples"):
        EEGTrials(window=449)
    with pytest.raises(ValueError, match="classes must be one of both, rhythm, morphology"):
        SimulatedECG(classes="all")
    with pytest.raises(ValueError, match="wander is an amplitude of at least 0"):
        SimulatedECG(wander=-1)
    with pytest.raises(ValueError, match="no EEG task 'sleep'"):
        EEGTrials("sleep")
    monkeypatch.setitem(sys.modules, "conjoin.samples", None)
    monkeypatch.delattr("conjoin.samples")
    with pytest.raises(ImportError, match=r"distribution conjoin-samples: python -m pip install"):
        SimulatedECG()

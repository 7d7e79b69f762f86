# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.audio import FrontEnd
from conjoin.audio.data import AudioModule, ClipDataset
from conjoin.audio.transforms import roll_and_gain
from conjoin.core import random
from conjoin.core.masking import Masks

RATE = 8000
SMALL = FrontEnd(RATE, 32, 16, -5.0, 4.0)


class Clips(ClipDataset):
    """Clips of 0.3 s of noise, silence, and a short one."""

    def __len__(self):
        return 8

    def wave(self, index):
        noise = np.random.default_rng(index).normal(0, 0.1, 2400).astype(np.float32)
        return {6: noise * 0, 7: noise[:1000]}.get(index, noise)


class Module(AudioModule):
    num_classes = 2

    def build(self, split):
        return Clips(self.window, self.least, np.arange(8) % 2)


def batch(train, **options):
    data = Module(SMALL, 0.25, batch_size=8, **options)
    if not train:
        return data, next(iter(data.evaluation_dataloader("train")))
    raw = next(iter(data.train_dataloader()))
    return data, data.batch_transform(raw, train=True)


def test_evaluation_takes_the_middle_and_never_changes():
    data, found = batch(False, gain=6.0, roll=True)
    assert found["x"].shape == (8, 1, 32, 16)
    assert found["length"].tolist() == [2000] * 7 + [1000]
    clips = data.dataset("train")
    middle = torch.from_numpy(clips.wave(3)[200:2200])[None]
    torch.testing.assert_close(found["x"][3:4], data.spectrogram(middle))
    short = torch.from_numpy(clips.wave(7))[None]
    torch.testing.assert_close(found["x"][7:], data.spectrogram(short), rtol=0, atol=1e-4)
    assert torch.equal(found["x"], batch(False, seed=5)[1]["x"])


def test_silence_is_kept_and_finite():
    found = batch(False)[1]["x"][6]
    assert torch.isfinite(found).all()
    assert (found[:, :20] == found[0, 0, 0]).all()


def test_training_augments_by_key():
    plain = batch(True, seed=1)[1]["x"]
    changed = batch(True, seed=1, gain=6.0, roll=True)[1]["x"]
    assert not torch.equal(plain, changed)
    assert torch.equal(changed, batch(True, seed=1, gain=6.0, roll=True)[1]["x"])
    assert not torch.equal(changed, batch(True, seed=2, gain=6.0, roll=True)[1]["x"])


def test_augmentation_is_a_function_of_index_and_epoch():
    data = Module(SMALL, 0.25, seed=3, gain=6.0, roll=True)
    waves = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    given = {"x": waves, "length": torch.tensor([2000, 2000])}
    index, epoch = torch.tensor([5, 6]), torch.tensor([1, 2])
    out = data.batch_transform({**given, "index": index, "epoch": epoch}, train=True)["x"]
    keys = random.fold(random.key(3, "sound"), torch.tensor([(1 << 32) + 5, (2 << 32) + 6]))
    expected = data.spectrogram(roll_and_gain(waves, given["length"], keys, roll=True, gain=6.0))
    assert torch.equal(out, expected)


def test_raw_features_are_statistics_over_time():
    data = Module(SMALL, 0.25)
    x = torch.randn(3, 1, 32, 16, generator=torch.Generator().manual_seed(0))
    features = data.raw_features({"x": x}).numpy()
    np.testing.assert_allclose(features[:, :16], x[:, 0].numpy().mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(features[:, 16:], x[:, 0].numpy().std(axis=1, ddof=1), atol=1e-6)


def test_draws_for_the_report():
    data = Module(SMALL, 0.25)
    sample = {"x": torch.randn(1, 32, 16, generator=torch.Generator().manual_seed(0))}
    assert [panel.caption for panel in data.draw(sample, None, (4, 2))] == ["spectrogram"]
    masks = Masks(torch.tensor([[0, 1]]), torch.tensor([[[4, 5], [6, 7]]]))
    panels = data.draw(sample, masks, (4, 2))
    assert [panel.caption for panel in panels] == ["spectrogram", "context", "targets"]
    assert "25 %" in panels[1].alt
    assert "2 blocks" in panels[2].alt
    assert all(panel.pixels.shape == (48, 96, 3) for panel in panels)


def test_front_end_defaults_are_the_papers():
    spectrogram = FrontEnd().build()
    assert (spectrogram.frames, spectrogram.log_mel.mels, spectrogram.log_mel.rate) == (1024, 128, 16_000)
    assert (spectrogram.mean, spectrogram.std) == (-4.2677393, 4.5689974)


def test_guards():
    with pytest.raises(ValueError, match=r"at least one frame of 200 samples at 8000 Hz, not 0.01"):
        Module(SMALL, 0.01)
    with pytest.raises(ValueError, match="at least 0 decibels, not -1"):
        Module(SMALL, 0.25, gain=-1)

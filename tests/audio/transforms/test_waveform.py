# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.audio.transforms import CenterWindow, RandomWindow, resample, roll_and_gain
from conjoin.core import random


def sine(hertz, rate, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_resampling_keeps_the_sound(rate):
    out = resample(sine(440, rate), rate, 16_000)
    assert out.dtype == np.float32
    expected = sine(440, 16_000)
    assert abs(len(out) - 8000) <= 1
    np.testing.assert_allclose(out[800:7000], expected[800:7000], atol=5e-3)


def test_resampling_removes_what_does_not_fit():
    out = resample(sine(7000, 48_000), 48_000, 8000)
    assert np.abs(out[100:-100]).max() < 1e-2
    same = sine(440, 8000)
    assert resample(same, 8000, 8000) is same


def test_windows():
    x = torch.arange(10.0)
    assert CenterWindow(4)(x).tolist() == [3, 4, 5, 6]
    assert CenterWindow(12)(x).tolist() == [*range(10), 0, 0]
    assert "length=4" in repr(CenterWindow(4))
    starts = set()
    for seed in range(60):
        with random.seeded(seed):
            window = RandomWindow(4)(x)
        assert window.diff().eq(1).all()
        starts.add(int(window[0]))
    assert starts == set(range(7))
    assert RandomWindow(12)(x).tolist() == [*range(10), 0, 0]


def test_rolling_goes_round_within_each_clip():
    waves = torch.zeros(200, 8)
    waves[:, :5] = torch.arange(1.0, 6.0)
    keys = random.fold(random.key(0, "test"), torch.arange(200))
    out = roll_and_gain(waves, torch.full((200,), 5), keys, roll=True, gain=0.0)
    assert (out[:, 5:] == 0).all()
    rows = {tuple(row) for row in out[:, :5].tolist()}
    assert rows == {tuple(np.roll(np.arange(1.0, 6.0), shift).tolist()) for shift in range(5)}
    again = roll_and_gain(waves[7:8], torch.tensor([5]), keys[7:8], roll=True, gain=0.0)
    assert torch.equal(again, out[7:8])


def test_gain_lies_within_its_decibels():
    waves = torch.ones(500, 3)
    keys = random.fold(random.key(0, "test"), torch.arange(500))
    out = roll_and_gain(waves, torch.full((500,), 3), keys, roll=False, gain=6.0)
    decibels = 20 * out[:, 0].log10()
    assert decibels.abs().max() <= 6
    assert decibels.min() < -5.8
    assert decibels.max() > 5.8
    assert decibels.mean().abs() < 0.5
    assert torch.equal(out[:, 0], out[:, 2])


def test_guards():
    with pytest.raises(ValueError, match="rates must be positive, not 0 and 8000 Hz"):
        resample(sine(440, 8000), 0, 8000)

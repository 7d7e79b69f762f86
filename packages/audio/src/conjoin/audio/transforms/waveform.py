# SPDX-License-Identifier: Apache-2.0
"""What happens to waveforms before they become spectrograms: rates, windows, gain and cyclic shift."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor, nn

from conjoin.core import random

__all__ = ("CenterWindow", "RandomWindow", "resample", "roll_and_gain")

Wave = NDArray[np.float32]


def resample(wave: Wave, rate: int, target: int) -> Wave:
    """Polyphase resampling from one whole rate in hertz to another, the band limited to the lower of the two.

    Args:
        wave: (T,).
        rate: Samples per second.
        target: The same for the result, which has ``ceil(T target / rate)`` samples.

    Raises:
        ValueError: If a rate is not positive.
    """
    if rate <= 0 or target <= 0:
        raise ValueError(f"sampling rates must be positive, not {rate} and {target} Hz")
    if rate == target:
        return wave
    common = math.gcd(rate, target)
    return np.asarray(resample_poly(wave.astype(np.float64), target // common, rate // common), np.float32)


class CenterWindow(nn.Module):
    """The middle ``length`` samples of a waveform (..., T); a shorter one is padded with zeros at its end."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, wave: Tensor) -> Tensor:
        """(..., T) to (..., length)."""
        spare = wave.shape[-1] - self.length
        if spare < 0:
            return nn.functional.pad(wave, (0, -spare))
        start = self.start(spare)
        return wave[..., start : start + self.length]

    def start(self, spare: int) -> int:
        """First sample of the window if ``spare`` samples are too many."""
        return spare // 2

    def extra_repr(self) -> str:
        """The length."""
        return f"length={self.length}"


class RandomWindow(CenterWindow):
    """A random window instead, from torch's global generator, which the data set seeds per sample."""

    def start(self, spare: int) -> int:
        """Uniform over all places."""
        return int(torch.randint(spare + 1, ()))


def roll_and_gain(waves: Tensor, lengths: Tensor, keys: Tensor, *, roll: bool, gain: float) -> Tensor:
    """A-JEPA's augmentation: shift each clip around in a circle by a random offset, and change its level.

    Args:
        waves: (B, T), zero behind each clip's end.
        lengths: (B,) samples of each clip, within which it goes round.
        keys: (B,) keys, one per sample.
        roll: Whether to shift.
        gain: Largest change of the level in decibels, up or down; uniform.

    Returns:
        (B, T).
    """
    u = random.uniform(keys, 2).to(waves.device)
    if roll:
        place = torch.arange(waves.shape[1], device=waves.device)
        offset = (u[:, :1] * lengths[:, None]).long()
        source = (place - offset) % lengths[:, None]
        waves = waves.gather(1, source).masked_fill(place >= lengths[:, None], 0)
    if gain:
        waves = waves * 10 ** ((2 * u[:, 1:] - 1) * gain / 20).to(waves.dtype)
    return waves

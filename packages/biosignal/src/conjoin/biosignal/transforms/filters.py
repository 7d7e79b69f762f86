# SPDX-License-Identifier: Apache-2.0
"""What ECG-JEPA does to a recording once: mend gaps, resample, remove wander, standardise, clip.

All functions take and return NumPy arrays (C, T), leads first.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal as dsp

__all__ = ("add_wander", "highpass", "interpolate_nans", "resample", "standardise")

Signal = NDArray[np.float32]


def interpolate_nans(x: Signal) -> Signal:
    """Straight lines over gaps of NaN, per lead; the first and last value go on to the borders.

    Raises:
        ValueError: If a lead has no finite value; the message has its number.
    """
    bad = ~np.isfinite(x)
    if not bad.any():
        return x
    x = x.copy()
    time = np.arange(x.shape[1])
    for lead in np.flatnonzero(bad.any(axis=1)):
        good = ~bad[lead]
        if not good.any():
            raise ValueError(f"lead {lead} has no finite value")
        x[lead, bad[lead]] = np.interp(time[bad[lead]], time[good], x[lead, good])
    return x


def resample(x: Signal, rate: float, target: float) -> Signal:
    """Fourier resampling to another rate in hertz; the result has ``round(T target / rate)`` samples.

    Raises:
        ValueError: If a rate is not positive.
    """
    if rate <= 0 or target <= 0:
        raise ValueError(f"sampling rates must be positive, not {rate:g} and {target:g} Hz")
    if rate == target:
        return x
    count = max(1, round(x.shape[1] * target / rate))
    return np.asarray(dsp.resample(x.astype(np.float64), count, axis=1), np.float32)


def highpass(x: Signal, rate: float, cutoff: float = 0.5, order: int = 4) -> Signal:
    """Remove slow baseline wander: a Butterworth filter run forwards and backwards, so without delay.

    Args:
        x: (C, T).
        rate: Samples per second.
        cutoff: Hertz.
        order: Of the filter in one direction.

    Raises:
        ValueError: If the cut-off does not lie between 0 and half the rate.
    """
    if not 0 < cutoff < rate / 2:
        raise ValueError(f"the high-pass cut-off {cutoff:g} Hz must lie between 0 and {rate / 2:g} Hz")
    b, a = dsp.butter(order, cutoff, btype="highpass", fs=rate)
    return np.asarray(dsp.filtfilt(b, a, x.astype(np.float64), axis=1), np.float32)


def standardise(x: Signal, mean: ArrayLike, std: ArrayLike, clip: float | None = 5.0) -> Signal:
    """``(x - mean) / std`` per lead, clipped to [-clip, clip]."""
    mean, std = (np.asarray(values, np.float64)[:, None] for values in (mean, std))
    scaled = (x - mean) / std
    if clip is not None:
        scaled = scaled.clip(-clip, clip)
    return scaled.astype(np.float32)


def add_wander(x: Signal, rate: float, amplitude: float, seed: int) -> Signal:
    """Add a sine of 0.1 to 0.4 Hz to all leads: breathing, as it disturbs real recordings.

    Args:
        x: (C, T).
        rate: Samples per second.
        amplitude: In the unit of ``x``; each lead gets a share of 0.5 to 1 of it.
        seed: Of frequency, phase and shares.
    """
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (rng.uniform(0.1, 0.4) * np.arange(x.shape[1]) / rate + rng.uniform())
    return np.asarray(x + amplitude * rng.uniform(0.5, 1, (len(x), 1)) * np.sin(angle), np.float32)

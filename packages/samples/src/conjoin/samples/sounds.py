# SPDX-License-Identifier: Apache-2.0
r"""The embedded sounds: rendered notes and synthesised spoken words.

Waveforms are kept as 8-bit mu-law numbers (ITU-T G.711's curve, continuous form): with :math:`\mu = 255`,

.. math:: F(x) = \operatorname{sign}(x) \frac{\ln(1 + \mu |x|)}{\ln(1 + \mu)}, \quad x \in [-1, 1],

rounded to 1/127. Quiet parts keep their fine steps, and the error is about 37 dB below the signal.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.samples import store

__all__ = ("SoundSet", "SoundSplit", "compress", "expand", "sounds")

_SPLITS = ("train", "validation", "test")
_MU = 255.0


@dataclass(frozen=True)
class SoundSplit:
    """Clips of equal length with labels.

    Attributes:
        waves: float32 (N, T) in [-1, 1].
        labels: int64 (N,): the word, or the instrument.
        groups: int64 (N,): the speaker (numbered within its split), or the pitch as a MIDI number.
    """

    waves: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.waves)


@dataclass(frozen=True)
class SoundSet:
    """Clips of one kind; no group (speaker, pitch) of the test split occurs in another split."""

    train: SoundSplit
    validation: SoundSplit
    test: SoundSplit
    class_names: tuple[str, ...]
    rate: int


def compress(wave: NDArray[Any]) -> NDArray[np.int8]:
    """Waveform in [-1, 1] to mu-law numbers, any shape."""
    curved = np.sign(wave) * np.log1p(_MU * np.abs(wave)) / np.log1p(_MU)
    return np.asarray(np.round(curved * 127), np.int8)


def expand(numbers: NDArray[np.int8]) -> NDArray[np.float32]:
    """Mu-law numbers back to a waveform; 0 stays exactly 0."""
    curved = numbers.astype(np.float64) / 127
    return np.asarray(np.sign(curved) * np.expm1(np.abs(curved) * np.log1p(_MU)) / _MU, np.float32)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    # The arrays are shared by all callers in the process.
    array.setflags(write=False)
    return array


def _placed(raw: dict[str, NDArray[Any]], split: str) -> NDArray[np.float32]:
    """Clips (N, T): each waveform at its place in silence."""
    lengths = raw[f"{split}_lengths"].astype(np.int64)
    starts = raw[f"{split}_starts"].astype(np.int64)
    waves = np.zeros((len(lengths), int(raw["length"])), np.float32)
    first = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(len(lengths)), lengths)
    column = np.arange(lengths.sum()) - np.repeat(first - starts, lengths)
    waves[row, column] = expand(raw[f"{split}_waves"])
    return waves


@cache
def sounds(name: str = "words") -> SoundSet:
    """One of the sound sets; read once per process, the arrays are read-only.

    Args:
        name: ``"words"`` (twenty command words by 70 synthetic speakers) or ``"notes"`` (sixteen
            instruments).

    Raises:
        ValueError: For another name.
    """
    if name not in ("words", "notes"):
        raise ValueError(f"There is no sound set {name!r}; choose words or notes.")
    raw = store.arrays(name)
    group = "speakers" if name == "words" else "pitches"
    splits = {
        split: SoundSplit(
            _frozen(_placed(raw, split)),
            _frozen(raw[f"{split}_labels"].astype(np.int64)),
            _frozen(raw[f"{split}_{group}"].astype(np.int64)),
        )
        for split in _SPLITS
    }
    return SoundSet(**splits, class_names=tuple(raw["class_names"].tolist()), rate=int(raw["rate"]))

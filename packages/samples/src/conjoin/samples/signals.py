# SPDX-License-Identifier: Apache-2.0
"""The embedded recordings: simulated 12-lead ECG and real EEG."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.samples import store

__all__ = ("ECGSet", "ECGSplit", "EEGSet", "EEGSplit", "ecg", "eeg")

_SPLITS = ("train", "validation", "test")
_LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True)
class ECGSplit:
    """Simulated recordings.

    Attributes:
        signals: float32 (N, 12, T) in millivolts, leads as in ``ECGSet.leads``.
        rhythms: int64 (N,).
        morphologies: int64 (N,).
    """

    signals: NDArray[np.float32]
    rhythms: NDArray[np.int64]
    morphologies: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.signals)


@dataclass(frozen=True)
class ECGSet:
    """Simulated 12-lead ECGs of 5 s at 100 Hz; every rhythm occurs with every morphology equally often."""

    train: ECGSplit
    validation: ECGSplit
    test: ECGSplit
    rhythm_names: tuple[str, ...]
    morphology_names: tuple[str, ...]
    leads: tuple[str, ...]
    rate: int


@dataclass(frozen=True)
class EEGSplit:
    """Trials with labels.

    Attributes:
        signals: float32 (N, C, T) in microvolts.
        labels: int64 (N,).
    """

    signals: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.signals)


@dataclass(frozen=True)
class EEGSet:
    """EEG trials of one subject and two classes, official test trials apart."""

    train: EEGSplit
    validation: EEGSplit
    test: EEGSplit
    class_names: tuple[str, ...]
    channels: tuple[str, ...]
    rate: int


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    # The arrays are shared by all callers in the process.
    array.setflags(write=False)
    return array


def _twelve(eight: NDArray[np.float32]) -> NDArray[np.float32]:
    """All leads (N, 12, T) from I, II and V1 to V6 (N, 8, T), by Einthoven and Goldberger."""
    one, two = eight[:, :1], eight[:, 1:2]
    limbs = (one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2)
    return np.concatenate((*limbs, eight[:, 2:]), axis=1)


@cache
def ecg() -> ECGSet:
    """The simulated ECGs; read once per process, the arrays are read-only."""
    raw = store.arrays("ecg")
    unit = np.float32(raw["unit"])
    splits = {
        split: ECGSplit(
            _frozen(_twelve(raw[f"{split}_signals"] * unit)),
            _frozen(raw[f"{split}_rhythms"].astype(np.int64)),
            _frozen(raw[f"{split}_morphologies"].astype(np.int64)),
        )
        for split in _SPLITS
    }
    return ECGSet(
        **splits,
        rhythm_names=tuple(raw["rhythm_names"].tolist()),
        morphology_names=tuple(raw["morphology_names"].tolist()),
        leads=_LEADS,
        rate=int(raw["rate"]),
    )


@cache
def eeg(task: str = "self_regulation") -> EEGSet:
    """One of the EEG sets; read once per process, the arrays are read-only.

    Args:
        task: ``"self_regulation"`` (6 channels, 3.5 s at 128 Hz) or ``"finger_movements"`` (28 channels, 0.5
            s at 100 Hz).

    Raises:
        ValueError: For another task.
    """
    tasks = ("self_regulation", "finger_movements")
    if task not in tasks:
        raise ValueError(f"There is no EEG task {task!r}; choose {' or '.join(tasks)}.")
    raw = store.arrays("eeg")
    unit = np.float32(raw[f"{task}_unit"])
    splits = {
        split: EEGSplit(
            _frozen(raw[f"{task}_{split}_signals"] * unit),
            _frozen(raw[f"{task}_{split}_labels"].astype(np.int64)),
        )
        for split in _SPLITS
    }
    return EEGSet(
        **splits,
        class_names=tuple(raw[f"{task}_classes"].tolist()),
        channels=tuple(raw[f"{task}_channels"].tolist()),
        rate=int(raw[f"{task}_rate"]),
    )

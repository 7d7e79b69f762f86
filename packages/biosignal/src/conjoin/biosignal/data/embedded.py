# SPDX-License-Identifier: Apache-2.0
"""The embedded recordings of conjoin-samples: simulated 12-lead ECG and real EEG, without a network."""

from types import ModuleType
from typing import Any, Literal, Unpack, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from conjoin.biosignal.data.module import SignalModule, SignalOptions
from conjoin.biosignal.transforms import add_wander, highpass, standardise
from conjoin.core import random
from conjoin.core.data import Split

__all__ = ("EEGTrials", "SimulatedECG")

_NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
Classes = Literal["both", "rhythm", "morphology"]
EEGTask = Literal["self_regulation", "finger_movements"]


def _samples() -> ModuleType:
    try:
        from conjoin import samples
    except ImportError as error:
        raise ImportError(
            "The embedded recordings are in the distribution conjoin-samples: python -m pip install "
            "'conjoin[samples]'."
        ) from error
    return samples


class _Arrays(Dataset[dict[str, Any]]):
    """Signals (N, C, T) and what belongs to them, by position."""

    def __init__(self, x: Tensor, **extras: Tensor) -> None:
        self.fields = {"x": x, **extras}

    def __len__(self) -> int:
        return len(self.fields["x"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.fields.items()}


class SimulatedECG(SignalModule):
    """1,600 / 240 / 480 simulated 12-lead ECGs of 5 s at 100 Hz: five rhythms times four morphologies.

    Samples have ``labels`` (7,): bradycardia, tachycardia, irregular, premature beats, wide QRS, T inversion,
    ST elevation; and ``label`` by ``classes``. No baseline wanders in them: adding it (``wander``) shows what
    slow, predictable nuisance does to a JEPA, and ``highpass`` what the filter of the paper saves of it.

    Args:
        window: Samples that the encoder sees, at most 500.
        classes: What ``label`` is: one of 20 combinations, of 5 rhythms or of 4 morphologies.
        wander: Amplitude of a slow sine added to each recording, in millivolts.
        highpass: Cut-off of the zero-phase high-pass filter in hertz, applied after that; None for none.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        window: int = 400,
        classes: Classes = "both",
        *,
        wander: float = 0.0,
        highpass: float | None = None,
        **options: Unpack[SignalOptions],
    ) -> None:
        embedded = _samples().ecg()
        length = embedded.train.signals.shape[2]
        if not 0 < window <= length:
            raise ValueError(
                f"window must lie between 1 and the {length} samples of a recording, not {window}."
            )
        if classes not in get_args(Classes):
            raise ValueError(f"classes must be one of {', '.join(get_args(Classes))}, not {classes!r}.")
        if wander < 0:
            raise ValueError(f"wander is an amplitude of at least 0 millivolts, not {wander}.")
        super().__init__(window, **options)
        self.lead_names = embedded.leads
        self.classes = classes
        self.wander = wander
        self.highpass = highpass
        self.rate = embedded.rate
        rhythms, shapes = embedded.rhythm_names, embedded.morphology_names
        self.label_names = (*rhythms[1:], *shapes[1:])
        self.class_names = {
            "both": tuple(f"{rhythm}, {shape}" for rhythm in rhythms for shape in shapes),
            "rhythm": rhythms,
            "morphology": shapes,
        }[classes]
        self.num_classes = len(self.class_names)

    def build(self, split: Split) -> _Arrays:
        """The embedded split, standardised by the training split's deviation of each lead."""
        embedded = _samples().ecg()
        part = getattr(embedded, _NAMES[split])
        signals = self._filtered(part.signals, split)
        train = signals if split == "train" else self._filtered(embedded.train.signals, "train")
        mean, std = train.mean(axis=(0, 2)), train.std(axis=(0, 2))
        x = np.stack([standardise(signal, mean, std) for signal in signals])
        conditions = np.concatenate(
            [np.eye(len(names))[found][:, 1:] for names, found in self._kinds(embedded, part)], axis=1
        )
        label = {
            "both": part.rhythms * len(embedded.morphology_names) + part.morphologies,
            "rhythm": part.rhythms,
            "morphology": part.morphologies,
        }[self.classes]
        return _Arrays(
            torch.from_numpy(x),
            label=torch.from_numpy(np.array(label)),
            labels=torch.from_numpy(conditions.astype(np.float32)),
        )

    @staticmethod
    def _kinds(embedded: Any, part: Any) -> list[tuple[tuple[str, ...], NDArray[np.int64]]]:
        return [(embedded.rhythm_names, part.rhythms), (embedded.morphology_names, part.morphologies)]

    def _filtered(self, signals: NDArray[np.float32], split: Split) -> NDArray[np.float32]:
        """Wander added and filter applied; both are a part of the data, not of the run's randomness."""
        if self.wander:
            seeds = [random.key(0, f"wander {split}", index) & 0xFFFFFFFF for index in range(len(signals))]
            signals = np.stack(
                [add_wander(x, self.rate, self.wander, seed) for x, seed in zip(signals, seeds, strict=True)]
            )
        if self.highpass is not None:
            signals = np.stack([highpass(x, self.rate, self.highpass) for x in signals])
        return signals


class EEGTrials(SignalModule):
    """Real EEG of the BCI competition II: one subject, two classes, the official test trials.

    Args:
        task: ``"self_regulation"``: 214 / 54 / 293 trials of 6 channels, 448 samples at 128 Hz (cortical
            negativity or positivity). ``"finger_movements"``: 253 / 63 / 100 of 28 channels, 50 samples at
            100 Hz (left or right).
        window: Samples that the encoder sees; the whole trial if not given.
        clip: Bound on standardised values.
        **options: See :class:`~conjoin.biosignal.data.module.SignalOptions`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        task: EEGTask = "self_regulation",
        window: int | None = None,
        *,
        clip: float = 5.0,
        **options: Unpack[SignalOptions],
    ) -> None:
        embedded = _samples().eeg(task)
        length = embedded.train.signals.shape[2]
        if window is not None and not 0 < window <= length:
            raise ValueError(f"window must lie between 1 and the {length} samples of a trial, not {window}.")
        super().__init__(window or length, **options)
        self.lead_names = embedded.channels
        self.task: EEGTask = task
        self.clip = clip
        self.rate = embedded.rate
        self.class_names = embedded.class_names
        self.num_classes = len(embedded.class_names)

    def build(self, split: Split) -> _Arrays:
        """The embedded split, standardised by the training split's mean and deviation of each channel."""
        embedded = _samples().eeg(self.task)
        part, train = getattr(embedded, _NAMES[split]), embedded.train.signals
        mean, std = train.mean(axis=(0, 2)), train.std(axis=(0, 2))
        x = np.stack([standardise(signal, mean, std, self.clip) for signal in part.signals])
        return _Arrays(torch.from_numpy(x), label=torch.from_numpy(np.array(part.labels)))

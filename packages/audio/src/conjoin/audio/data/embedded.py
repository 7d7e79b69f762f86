# SPDX-License-Identifier: Apache-2.0
"""The embedded sounds: spoken words and single notes, ready without a network."""

from types import ModuleType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from conjoin.audio.data.files import ClipDataset
from conjoin.audio.data.module import AudioModule, FrontEnd
from conjoin.core.data import Split

__all__ = ("EmbeddedSounds", "Fill", "SoundName")

SoundName = Literal["words", "notes"]
Fill = Literal["silence", "repeat"]
_NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
_MELS = 64
# Mean and standard deviation of the log-mel values of the training clips.
_STATISTICS: dict[tuple[SoundName, Fill], tuple[float, float]] = {
    ("words", "silence"): (-11.47, 5.83),
    ("words", "repeat"): (-5.02, 3.86),
    ("notes", "silence"): (-9.02, 6.40),
    ("notes", "repeat"): (-4.40, 4.16),
}


def _samples() -> ModuleType:
    try:
        from conjoin import samples
    except ImportError as error:
        raise ImportError(
            "The embedded sounds are in the distribution conjoin-samples: python -m pip install "
            "'conjoin[samples]'."
        ) from error
    return samples


class _Arrays(ClipDataset):
    def __init__(
        self, waves: NDArray[np.float32], labels: NDArray[np.int64], window: int, fill: Fill
    ) -> None:
        super().__init__(window, 1, labels)
        self.waves = waves
        self.fill = fill

    def __len__(self) -> int:
        return len(self.waves)

    def wave(self, index: int) -> NDArray[np.float32]:
        wave = self.waves[index]
        if self.fill == "repeat":
            sound = np.flatnonzero(wave)  # silence is exactly 0 in the sets
            return np.resize(wave[sound[0] : sound[-1] + 1], wave.shape)
        # A copy: the arrays are shared and read-only, which torch does not know.
        return np.array(wave)


class EmbeddedSounds(AudioModule):
    """Words (960 / 140 / 300 clips, 20 classes) or notes (400 / 80 / 160, 16 classes), 1 s at 8 kHz each.

    The words of validation and test are said by other speakers than those of training; the notes have other
    pitches. Spectrograms are (1, 96, 64).

    Args:
        name: ``"words"`` or ``"notes"``.
        fill: What the rest of the second holds: ``"silence"`` (the sound lies at a random place in it), or
            ``"repeat"``, the sound over and over again from the start. In training, evaluation and the
            raw-input baseline alike.
        gain: Largest random change of the level in training, in decibels.
        roll: Whether training shifts each clip around in a circle.
        batch_size: Clips per batch and process.
        num_workers: Worker processes per loader; 0 is best for sounds that are in memory.
        eval_batch_size: Clips per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        name: SoundName = "words",
        *,
        fill: Fill = "silence",
        gain: float = 6.0,
        roll: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        if name not in get_args(SoundName):
            raise ValueError(
                f"There are no embedded sounds {name!r}; choose {' or '.join(get_args(SoundName))}."
            )
        if fill not in get_args(Fill):
            raise ValueError(f"fill must be {' or '.join(get_args(Fill))}, not {fill!r}.")
        embedded = _samples().sounds(name)
        mean, std = _STATISTICS[name, fill]
        super().__init__(
            FrontEnd(embedded.rate, 96, _MELS, mean, std),
            embedded.train.waves.shape[1] / embedded.rate,
            gain=gain,
            roll=roll,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        self.name: SoundName = name
        self.fill: Fill = fill
        self.class_names = embedded.class_names
        self.num_classes = len(embedded.class_names)

    def build(self, split: Split) -> _Arrays:
        """The embedded split."""
        part = getattr(_samples().sounds(self.name), _NAMES[split])
        return _Arrays(part.waves, part.labels, self.window, self.fill)

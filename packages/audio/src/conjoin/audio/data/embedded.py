# SPDX-License-Identifier: Apache-2.0
"""The embedded sounds: spoken words and single notes, ready without a network."""

from types import ModuleType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from conjoin.audio.data.files import ClipDataset
from conjoin.audio.data.module import AudioModule, FrontEnd
from conjoin.core.data import Split

__all__ = ("EmbeddedSounds", "SoundName")

SoundName = Literal["words", "notes"]
_NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
_MELS = 64
# Mean and standard deviation of the log-mel values of the training clips.
_STATISTICS = {"words": (-11.47, 5.83), "notes": (-9.02, 6.40)}


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
    def __init__(self, waves: NDArray[np.float32], labels: NDArray[np.int64], window: int) -> None:
        super().__init__(window, 1, labels)
        self.waves = waves

    def __len__(self) -> int:
        return len(self.waves)

    def wave(self, index: int) -> NDArray[np.float32]:
        # A copy: the arrays are shared and read-only, which torch does not know.
        return np.array(self.waves[index])


class EmbeddedSounds(AudioModule):
    """Words (960 / 140 / 300 clips, 20 classes) or notes (400 / 80 / 160, 16 classes), 1 s at 8 kHz each.

    The words of validation and test are said by other speakers than those of training; the notes have other
    pitches. Spectrograms are (1, 96, 64).

    Args:
        name: ``"words"`` or ``"notes"``.
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
        embedded = _samples().sounds(name)
        mean, std = _STATISTICS[name]
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
        self.class_names = embedded.class_names
        self.num_classes = len(embedded.class_names)

    def build(self, split: Split) -> _Arrays:
        """The embedded split."""
        part = getattr(_samples().sounds(self.name), _NAMES[split])
        return _Arrays(part.waves, part.labels, self.window)

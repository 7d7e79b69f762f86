# SPDX-License-Identifier: Apache-2.0
"""Speech Commands: single spoken words of about 1 s (Warden, arXiv 1804.03209), versions 1 and 2."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conjoin.audio.data.files import FileDataset, require
from conjoin.audio.data.module import AudioModule, FrontEnd
from conjoin.core.data import Split

__all__ = ("SpeechCommands",)

_LISTS: dict[Split, str] = {"val": "validation_list.txt", "test": "testing_list.txt"}
_UNKNOWN = "unknown"


class SpeechCommands(AudioModule):
    """Speech Commands as published: a folder per word, ``validation_list.txt`` and ``testing_list.txt``.

    Files that neither list names train. Folders that start with an underscore or a dot
    (``_background_noise_``) are left out.

    Args:
        root: The folder.
        words: The classes; other words are the one class "unknown" then. All folders if not given.
        front_end: From waveforms to spectrograms; 128 frames of AudioMAE's statistics if not given.
        gain: Largest random change of the level in training, in decibels.
        roll: Whether training shifts each clip around in a circle.
        batch_size: Clips per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Clips per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unreadable clips that may be skipped, per worker process.

    Raises:
        FileNotFoundError: If the folder or a list is missing.
        ValueError: If there are no words, or a wanted one is not among them.
    """

    def __init__(
        self,
        root: str | Path,
        words: Sequence[str] | None = None,
        *,
        front_end: FrontEnd | None = None,
        gain: float = 6.0,
        roll: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            front_end or FrontEnd(frames=128, mean=-6.845978, std=5.5654526),
            1.0,
            gain=gain,
            roll=roll,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
            max_corrupt=max_corrupt,
        )
        self.root = require(Path(root), "The folder of Speech Commands")
        found = sorted(
            path.name for path in self.root.iterdir() if path.is_dir() and path.name[0] not in "._"
        )
        if not found:
            raise ValueError(f"{root} has no folder of a word: is it Speech Commands, unpacked?")
        absent = sorted(set(words or ()) - set(found))
        if absent:
            raise ValueError(f"{root} has no folder {', '.join(absent)}; its words are {', '.join(found)}.")
        kept = tuple(words) if words else tuple(found)
        self.class_names = (*kept, _UNKNOWN) if set(kept) < set(found) else kept
        self.num_classes = len(self.class_names)
        number = {name: place for place, name in enumerate(kept)}
        listed: dict[str, Split] = {}
        for split, name in _LISTS.items():
            table = require(self.root / name, f"The list of the {split} split")
            listed |= dict.fromkeys(table.read_text(encoding="utf-8").split(), split)
        self.parts: dict[Split, tuple[list[str], list[int]]] = {
            "train": ([], []),
            "val": ([], []),
            "test": ([], []),
        }
        for word in found:
            for path in sorted((self.root / word).glob("*.wav")):
                paths, labels = self.parts[listed.get(f"{word}/{path.name}", "train")]
                paths.append(f"{word}/{path.name}")
                labels.append(number.get(word, len(kept)))

    def build(self, split: Split) -> FileDataset:
        """The files of the split."""
        paths, labels = self.parts[split]
        if not paths:
            raise ValueError(f"{self.root} has no file of the {split} split.")
        return FileDataset(
            self.root, paths, self.front_end.rate, self.window, self.least, np.array(labels, np.int64)
        )

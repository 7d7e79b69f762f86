# SPDX-License-Identifier: Apache-2.0
"""ESC-50: 2,000 environmental sounds of 5 s in 50 classes and 5 folds (Piczak, ACM Multimedia 2015)."""

import csv
from pathlib import Path

import numpy as np

from conjoin.audio.data.files import FileDataset, require
from conjoin.audio.data.module import AudioModule, FrontEnd
from conjoin.core.data import Split

__all__ = ("ESC50",)

_COLUMNS = ("filename", "fold", "category")
_FOLDS = 5


class ESC50(AudioModule):
    """ESC-50 as its repository lays it out: ``meta/esc50.csv`` and ``audio/*.wav``.

    One fold tests, the next one validates, the other three train: fold 5 is followed by fold 1. The published
    figure is the mean over five runs with ``fold`` 1 to 5. Without ``validate`` the validation fold trains
    too and the test fold stands in for it, as in published recipes; choose nothing by it then.

    Args:
        root: The folder.
        fold: The test fold, 1 to 5.
        only_esc10: Keep the ten classes of ESC-10.
        validate: Hold a validation fold out of training.
        front_end: From waveforms to spectrograms; 512 frames of AudioMAE's statistics if not given.
        gain: Largest random change of the level in training, in decibels.
        roll: Whether training shifts each clip around in a circle.
        batch_size: Clips per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Clips per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unreadable clips that may be skipped, per worker process.

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If an argument is out of its range or the table lacks a column.
    """

    def __init__(
        self,
        root: str | Path,
        fold: int = 1,
        *,
        only_esc10: bool = False,
        validate: bool = True,
        front_end: FrontEnd | None = None,
        gain: float = 6.0,
        roll: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        if not 1 <= fold <= _FOLDS:
            raise ValueError(f"ESC-50 has folds 1 to {_FOLDS}, not {fold}.")
        super().__init__(
            front_end or FrontEnd(frames=512, mean=-6.6268077, std=5.358466),
            5.0,
            gain=gain,
            roll=roll,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
            max_corrupt=max_corrupt,
        )
        self.root = Path(root)
        table = require(self.root / "meta" / "esc50.csv", "The table of ESC-50")
        columns = (*_COLUMNS, "esc10") if only_esc10 else _COLUMNS
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            absent = set(columns) - set(reader.fieldnames or ())
            if absent:
                raise ValueError(f"{table} has no column {', '.join(sorted(absent))}: is it esc50.csv?")
            rows = [row for row in reader if not only_esc10 or row["esc10"] == "True"]
        self.class_names = tuple(sorted({row["category"] for row in rows}))
        self.num_classes = len(self.class_names)
        number = {name: place for place, name in enumerate(self.class_names)}
        self.paths = [f"audio/{row['filename']}" for row in rows]
        self.labels = np.array([number[row["category"]] for row in rows], np.int64)
        self.folds = np.array([int(row["fold"]) for row in rows])
        after = fold % _FOLDS + 1
        rest = tuple(set(range(1, _FOLDS + 1)) - {fold, after})
        self.parts: dict[Split, tuple[int, ...]] = {
            "train": rest if validate else (*rest, after),
            "val": (after if validate else fold,),
            "test": (fold,),
        }

    def build(self, split: Split) -> FileDataset:
        """The clips of the split's folds."""
        chosen = np.flatnonzero(np.isin(self.folds, self.parts[split]))
        if not len(chosen):
            raise ValueError(f"No clip of {self.root} is in fold {self.parts[split]} ({split}).")
        paths = [self.paths[index] for index in chosen]
        return FileDataset(
            self.root, paths, self.front_end.rate, self.window, self.least, self.labels[chosen]
        )

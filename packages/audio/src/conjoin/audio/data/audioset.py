# SPDX-License-Identifier: Apache-2.0
"""AudioSet and whatever else is listed as the AST and AudioMAE code bases do it.

A list is a JSON file ``{"data": [{"wav": path, "labels": "/m/09x0r,/m/05zppz"}, ...]}``; the table of labels
is ``class_labels_indices.csv`` with the columns ``index``, ``mid`` and ``display_name``.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from conjoin.audio.data.balanced import BalancedSampler, clip_weights
from conjoin.audio.data.files import FileDataset, require
from conjoin.audio.data.module import AudioModule, FrontEnd
from conjoin.core import distributed, random
from conjoin.core.data import KeyedLoader, Split

__all__ = ("AudioSet", "label_table", "read_list")


def label_table(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Column of each label's mark, and the readable names in order.

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If it lacks a column, or its indices are not 0 to N - 1.
    """
    with require(path, "The table of labels").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        absent = {"index", "mid", "display_name"} - set(reader.fieldnames or ())
        if absent:
            raise ValueError(
                f"{path} has no column {', '.join(sorted(absent))}: is it class_labels_indices.csv?"
            )
        rows = sorted(reader, key=lambda row: int(row["index"]))
    if [int(row["index"]) for row in rows] != list(range(len(rows))):
        raise ValueError(f"The indices of {path} are not 0 to {len(rows) - 1}, each once.")
    columns = {row["mid"]: number for number, row in enumerate(rows)}
    return columns, tuple(row["display_name"] for row in rows)


def read_list(path: Path, columns: dict[str, int]) -> tuple[list[str], NDArray[np.float32]]:
    """Files of a list and their labels (N, L) of 0 and 1.

    Raises:
        FileNotFoundError: If the list is missing.
        ValueError: If it is no such list, or has a label that the table does not know.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(
            require(path, "The list of clips").read_text(encoding="utf-8")
        )["data"]
        paths = [str(entry["wav"]) for entry in entries]
        marks = [str(entry["labels"]).split(",") for entry in entries]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is no list of clips: it must be JSON like {{"data": [{{"wav": "a.wav", "labels": '
            f'"/m/1"}}]}} '
            f"({type(error).__name__}: {error})."
        ) from error
    if not paths:
        raise ValueError(f"{path} lists no clip.")
    unknown = sorted({mark for clip in marks for mark in clip} - set(columns))
    if unknown:
        raise ValueError(
            f"{path} has {len(unknown)} labels that the table does not, {unknown[0]!r} among them."
        )
    labels = np.zeros((len(paths), len(columns)), np.float32)
    for row, clip in enumerate(marks):
        labels[row, [columns[mark] for mark in clip]] = 1
    return paths, labels


class AudioSet(AudioModule):
    """Clips named by JSON lists, with several labels each.

    Samples have ``labels`` (L,) and ``label``, which is the number of the only one and -1 if there are
    several.

    Args:
        root: Folder of the lists and of ``class_labels_indices.csv``; relative paths of clips start from it
            too.
        train: Name of the list to train on.
        test: Name of the list of the evaluation set.
        val: Name of a list to validate on; None holds a share of the training list out.
        val_share: That share.
        balanced: Draw training clips so that rare labels come as often as common ones, as fine-tuning does.
        labels: Name of the table of labels.
        front_end: From waveforms to spectrograms; 1024 frames of AudioSet's statistics if not given.
        seconds: Length of the window.
        gain: Largest random change of the level in training, in decibels.
        roll: Whether training shifts each clip around in a circle.
        batch_size: Clips per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Clips per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unreadable clips that may be skipped, per worker process.

    Raises:
        FileNotFoundError: If a list or the table is missing.
        ValueError: If an argument is out of its range, or a list or the table is not as it must be.
    """

    def __init__(
        self,
        root: str | Path,
        train: str = "train.json",
        test: str = "eval.json",
        val: str | None = None,
        *,
        val_share: float = 0.01,
        balanced: bool = False,
        labels: str = "class_labels_indices.csv",
        front_end: FrontEnd | None = None,
        seconds: float = 10.0,
        gain: float = 6.0,
        roll: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 1000,
    ) -> None:
        if not 0 < val_share < 1:
            raise ValueError(f"val_share must lie between 0 and 1, not {val_share}.")
        super().__init__(
            front_end or FrontEnd(),
            seconds,
            gain=gain,
            roll=roll,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
            max_corrupt=max_corrupt,
        )
        self.root = Path(root)
        self.lists: dict[Split, str | None] = {"train": train, "val": val, "test": test}
        self.val_share = val_share
        self.balanced = balanced
        self.columns, self.label_names = label_table(self.root / labels)
        self.class_names, self.num_classes = self.label_names, len(self.label_names)

    def build(self, split: Split) -> FileDataset:
        """The clips of the split's list."""
        paths, labels = read_list(self.root / (self.lists[split] or self.lists["train"] or ""), self.columns)
        if split != "test" and self.lists["val"] is None:
            order = random.permutation(torch.tensor(random.key(0, "audioset-validation")), len(paths)).numpy()
            held = max(1, round(self.val_share * len(paths)))
            chosen = np.sort(order[:held] if split == "val" else order[held:])
            paths, labels = [paths[index] for index in chosen], labels[chosen]
        return FileDataset(self.root, paths, self.front_end.rate, self.window, self.least, labels)

    def loader(
        self, split: Split, *, train: bool, collate_fn: Callable[[list[Any]], Any] = default_collate
    ) -> KeyedLoader:
        """As the base does, with training's order drawn by weight if ``balanced``."""
        plain = super().loader(split, train=train, collate_fn=collate_fn)
        if not train or not self.balanced:
            return plain
        dataset = self.dataset(split)
        assert isinstance(dataset, FileDataset)
        assert dataset.labels is not None
        sampler = BalancedSampler(
            clip_weights(dataset.labels),
            self.batch_size,
            seed=self.seed,
            num_replicas=distributed.world_size(),
            rank=distributed.rank(),
        )
        return KeyedLoader(
            plain.dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            drop_last=True,
            collate_fn=collate_fn,
            pin_memory=plain.pin_memory,
            persistent_workers=plain.persistent_workers,
            worker_init_fn=plain.worker_init_fn,
        )

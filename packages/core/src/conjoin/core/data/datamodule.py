# SPDX-License-Identifier: Apache-2.0
"""The data module base: a subclass says what its splits are, the rest follows."""

import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset

from conjoin.core import distributed, random
from conjoin.core.data.keyed import KeyedDataset, KeyedSampler
from conjoin.core.data.loader import KeyedLoader
from conjoin.core.data.looks import collate

__all__ = ("DataModule", "Split")

Split = Literal["train", "val", "test"]


class DataModule(LightningDataModule):
    """Keyed, resumable loaders over the splits of a data set.

    A subclass writes :meth:`build`. It may set ``train_transform`` and ``eval_transform`` (callables on one
    sample's ``x``), override :meth:`batch_transform` (vectorised, after the batch has moved to the device),
    and set ``num_classes`` and ``class_names``. An ``eval_transform`` that returns
    :class:`~conjoin.core.data.looks.Looks` lets evaluation average over several looks at each sample.

    Args:
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed (``--seed_everything``) if not given.
        max_corrupt: Unreadable samples that may be skipped, per worker process.
    """

    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    train_transform: Callable[[Any], Any] | None = None
    eval_transform: Callable[[Any], Any] | None = None

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        *,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
        if num_workers < 0:
            raise ValueError(f"num_workers must not be negative, not {num_workers}.")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.eval_batch_size = eval_batch_size or batch_size
        self.seed = random.default_seed() if seed is None else seed
        self.max_corrupt = max_corrupt
        self._built: dict[Split, Dataset[Any]] = {}

    @abstractmethod
    def build(self, split: Split) -> Dataset[Any]:
        """Return the map-style data set of a split.

        Items are dictionaries, ``(x, label)`` tuples, or ``x`` alone. Raise :class:`ValueError` or
        :class:`FileNotFoundError` with one clear sentence if it cannot be made.
        """

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """Change a whole batch on its device; draw from keys of ``batch["index"]`` and ``batch["epoch"]``."""
        return batch

    def dataset(self, split: Split) -> Dataset[Any]:
        """The data set of a split, built once."""
        if split not in get_args(Split):
            raise ValueError(f"split must be one of {get_args(Split)}, not {split!r}.")
        if split not in self._built:
            self._built[split] = self.build(split)
        return self._built[split]

    def loader(
        self, split: Split, *, train: bool, collate_fn: Callable[[list[Any]], Any] = collate
    ) -> KeyedLoader:
        """A loader over a split, with training's order and augmentation or with evaluation's."""
        dataset = KeyedDataset(
            self.dataset(split),
            self.train_transform if train else self.eval_transform,
            seed=self.seed,
            max_corrupt=self.max_corrupt,
        )
        batch_size = self.batch_size if train else self.eval_batch_size
        sampler = KeyedSampler(
            len(dataset),
            batch_size,
            seed=self.seed,
            shuffle=train,
            drop_last=train,
            num_replicas=distributed.world_size(),
            rank=distributed.rank(),
            evaluation=not train,
        )
        return KeyedLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            drop_last=train,
            collate_fn=collate_fn,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=train and self.num_workers > 0,
            worker_init_fn=_one_thread if self.num_workers else None,
        )

    def train_dataloader(self) -> KeyedLoader:
        """Shuffled by key, incomplete last batch dropped."""
        return self.loader("train", train=True)

    def val_dataloader(self) -> KeyedLoader:
        """The validation split, fixed order and rendering."""
        return self.loader("val", train=False)

    def test_dataloader(self) -> KeyedLoader:
        """The test split, fixed order and rendering."""
        return self.loader("test", train=False)

    def predict_dataloader(self) -> KeyedLoader:
        """The test split again: ``conjoin predict`` embeds it."""
        return self.loader("test", train=False)

    def evaluation_dataloader(self, split: Split) -> KeyedLoader:
        """Any split in fixed order with all of evaluation's transforms, for use without a Trainer.

        Over several ranks a few samples repeat so that all take the same number of batches: ``index`` tells.
        """
        return self.loader(split, train=False, collate_fn=self._collate_evaluation)

    def _collate_evaluation(self, samples: list[Any]) -> dict[str, Any]:
        return self.batch_transform(collate(samples), train=False)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Lightning's hook: apply :meth:`batch_transform` on the device."""
        return self.batch_transform(batch, train=self.trainer is not None and self.trainer.training)


def _one_thread(worker: int) -> None:
    # Workers share the cores with training: one thread each.
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# SPDX-License-Identifier: Apache-2.0
"""Samples, their order and their augmentation as functions of keys.

A :class:`KeyedSampler` hands out :class:`SampleKey` pairs (index, epoch) instead of bare indices. A
:class:`KeyedDataset` uses the pair to seed whatever is random about that sample, so a sample is the same
whichever worker or rank makes it, and a run that resumes in the middle of an epoch needs only the number of
batches that it has consumed.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import Dataset, DistributedSampler

from conjoin.core import random

__all__ = ("CorruptSampleError", "KeyedDataset", "KeyedSampler", "SampleKey")


class SampleKey(NamedTuple):
    """Position in the data set and epoch of the draw (0 for evaluation)."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a key
    epoch: int


class CorruptSampleError(RuntimeError):
    """A data set raises this for a sample that cannot be read; it is then skipped, counted and named."""


class KeyedSampler(DistributedSampler[Any]):
    """The order of samples, a pure function of (seed, epoch, rank).

    The epoch's order is cut into global batches of ``batch_size * num_replicas``; each rank takes its own
    consecutive rows of every global batch. So W ranks with batches of B see, step by step, what one process
    with batches of W * B sees.

    It derives from :class:`torch.utils.data.DistributedSampler` so that Lightning leaves it in place.

    Args:
        size: Number of samples in the data set.
        batch_size: Samples per batch and rank.
        seed: The run's seed.
        shuffle: A new keyed permutation per epoch; otherwise ascending order.
        drop_last: Drop the incomplete global batch. Otherwise the last rows are shared out as evenly as
            possible; where a rank would get fewer rows than another, samples repeat from the start of the
            order so that all ranks take the same number of steps.
        num_replicas: World size.
        rank: This process.
        evaluation: Hand out epoch 0 whatever the epoch is, so that the draws of evaluation never change.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        num_replicas: int = 1,
        rank: int = 0,
        evaluation: bool = False,
    ) -> None:
        # Nothing of the parent's state is of use here; only its type is.
        if not 0 <= rank < num_replicas:
            raise ValueError(f"rank must lie in [0, {num_replicas}), not {rank}.")
        if drop_last and size < batch_size * num_replicas:
            raise ValueError(
                f"{size} training samples do not fill one global batch of {batch_size * num_replicas} "
                f"(batch_size {batch_size} x {num_replicas} process(es)): lower batch_size or add data."
            )
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.num_replicas = num_replicas
        self.rank = rank
        self.evaluation = evaluation
        self.epoch = 0
        self.start_batch = 0

    @property
    def global_batch_size(self) -> int:
        """Samples per step over all ranks."""
        return self.batch_size * self.num_replicas

    @property
    def num_batches(self) -> int:
        """Batches per rank in one whole epoch."""
        full, rest = divmod(self.size, self.global_batch_size)
        return full if self.drop_last or not rest else full + 1

    def __len__(self) -> int:
        """Samples of one whole epoch on this rank, whatever has been consumed of it."""
        full, rest = divmod(self.size, self.global_batch_size)
        length = full * self.batch_size
        if rest and not self.drop_last:
            length += -(-rest // self.num_replicas)
        return length

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration (Lightning calls this)."""
        self.epoch = epoch

    def order(self, epoch: int) -> list[int]:
        """The global order of an epoch, the same on every rank."""
        if not self.shuffle:
            return list(range(self.size))
        key = torch.tensor([random.key(self.seed, "order", epoch)])
        return cast("list[int]", random.permutation(key, self.size)[0].tolist())

    def __iter__(self) -> Iterator[SampleKey]:
        order = self.order(self.epoch)
        draw = 0 if self.evaluation else self.epoch
        step = self.global_batch_size
        full, rest = divmod(self.size, step)
        for batch in range(self.start_batch, full):
            first = batch * step + self.rank * self.batch_size
            for index in order[first : first + self.batch_size]:
                yield SampleKey(index, draw)
        if rest and not self.drop_last and self.start_batch <= full:
            share = -(-rest // self.num_replicas)
            tail = order[full * step :]
            tail += (order * (share * self.num_replicas // len(order) + 1))[
                : share * self.num_replicas - rest
            ]
            for index in tail[self.rank * share : (self.rank + 1) * share]:
                yield SampleKey(index, draw)


class KeyedDataset(Dataset[dict[str, Any]]):
    """A map-style data set whose samples are dictionaries and whose augmentation is keyed.

    Args:
        base: Map-style data set; an item is a dictionary, a tuple ``(x, label)``, or ``x`` alone.
        transform: Applied to the sample's ``x``, under global generators seeded by (seed, epoch, index), so
            any transform that draws from Python's, NumPy's or torch's global CPU generator is reproducible.
        seed: The run's seed.
        max_corrupt: How many unreadable samples (:class:`CorruptSampleError`) a process may skip; one more
            raises. A skipped sample is replaced by the next readable one.
    """

    def __init__(
        self,
        base: Dataset[Any],
        transform: Callable[[Any], Any] | None = None,
        *,
        seed: int = 0,
        max_corrupt: int = 100,
    ) -> None:
        self.base = base
        self.transform = transform
        self.seed = seed
        self.max_corrupt = max_corrupt
        self._corrupt: dict[int, str] = {}

    def __len__(self) -> int:
        return len(cast(Sized, self.base))

    def __getitem__(self, item: SampleKey | int) -> dict[str, Any]:
        index, epoch = item if isinstance(item, tuple) else (int(item), 0)
        position, raw = self._read(index)
        sample = _as_dict(raw)
        if self.transform is not None:
            with random.seeded(random.key(self.seed, "augment", epoch, position)):
                sample["x"] = self.transform(sample["x"])
        sample["index"] = position
        sample["epoch"] = epoch
        return sample

    def _read(self, index: int) -> tuple[int, Any]:
        for offset in range(len(self)):
            position = (index + offset) % len(self)
            if position in self._corrupt:
                continue
            try:
                return position, self.base[position]
            except CorruptSampleError as error:
                self._corrupt[position] = str(error)
                warnings.warn(
                    f"Skipped an unreadable sample ({len(self._corrupt)} so far in this process): {error}",
                    stacklevel=2,
                )
                if len(self._corrupt) > self.max_corrupt:
                    raise RuntimeError(
                        f"More than max_corrupt={self.max_corrupt} samples cannot be read, the last being: "
                        f"{error} Repair the data or raise max_corrupt."
                    ) from error
        raise RuntimeError("No sample of the data set can be read.")


def _as_dict(raw: Any) -> dict[str, Any]:
    if isinstance(raw, Mapping):
        return dict(raw)
    if isinstance(raw, tuple | list):
        return {"x": raw[0], "label": raw[1]} if len(raw) > 1 else {"x": raw[0]}
    return {"x": raw}

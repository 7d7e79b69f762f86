# SPDX-License-Identifier: Apache-2.0
"""Recordings as a data set: read, checked, prepared once, kept in half precision."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conjoin.biosignal.data.leads import LEADS, Statistics, lead_order
from conjoin.biosignal.data.wfdb_record import Record
from conjoin.biosignal.transforms import highpass, interpolate_nans, resample, standardise
from conjoin.core import random
from conjoin.core.data import CorruptSampleError

__all__ = ("Preparation", "RecordDataset", "measure")


@dataclass(frozen=True)
class Preparation:
    """What is done to a recording once, in this order.

    Args:
        rate: Samples per second of the result; other rates are resampled.
        highpass: Cut-off of the zero-phase high-pass filter in hertz; None for none.
        clip: Bound on standardised values; None for none.
        leads: Names and order of the leads.
    """

    rate: float = 500.0
    highpass: float | None = None
    clip: float | None = 5.0
    leads: tuple[str, ...] = LEADS

    def clean(self, record: Record, name: str) -> NDArray[np.float32]:
        """Leads in order, gaps mended, resampled and filtered: (C, T) in millivolts.

        Raises:
            CorruptSampleError: If a lead is missing or without a value, or all leads are zero.
        """
        try:
            signal = record.signal[lead_order(record.leads, self.leads)]
            empty = [lead for lead, row in zip(self.leads, signal, strict=True) if not np.isfinite(row).any()]
            if empty:
                raise ValueError(f"lead {', '.join(empty)} has no finite value")
            signal = interpolate_nans(signal)
            if not signal.any():
                raise ValueError("all leads are zero throughout")
            signal = resample(signal, record.rate, self.rate)
            if self.highpass is not None:
                signal = highpass(signal, self.rate, self.highpass)
        except ValueError as error:
            raise CorruptSampleError(f"{name}: {error}.") from error
        return signal


class RecordDataset(Dataset[dict[str, Any]]):
    """Recordings by number, standardised, with labels where there are any.

    Args:
        names: What tells the recordings apart, in messages and in the cache.
        read: Number to recording.
        preparation: What is done to each.
        statistics: Mean and deviation of each lead.
        labels: (N, L) 0 or 1; None for none.
        window: Samples that a recording must at least have.
        cache: Folder for prepared recordings (float16), made if missing; None prepares at each access.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[int], Record],
        preparation: Preparation,
        statistics: Statistics,
        *,
        labels: NDArray[np.float32] | None = None,
        window: int = 1,
        cache: str | Path | None = None,
    ) -> None:
        if len(statistics.mean) != len(preparation.leads):
            raise ValueError(
                f"There are statistics for {len(statistics.mean)} leads, but {len(preparation.leads)} leads."
            )
        self.names = names
        self.read = read
        self.preparation = preparation
        self.statistics = statistics
        self.labels = labels
        self.window = window
        self.cache = Path(cache) if cache else None
        # A cached file is good for one preparation only.
        self._mark = hashlib.sha256(repr((preparation, statistics)).encode()).hexdigest()[:8]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        signal = self._prepared(index)
        if signal.shape[1] < self.window:
            raise CorruptSampleError(
                f"{self.names[index]}: {signal.shape[1]} samples at {self.preparation.rate:g} Hz are fewer "
                f"than the window of {self.window}."
            )
        sample: dict[str, Any] = {"x": torch.from_numpy(signal)}
        if self.labels is not None:
            labels = self.labels[index]
            sample["labels"] = torch.from_numpy(labels)
            sample["label"] = int(labels.argmax()) if labels.sum() == 1 else -1
        return sample

    def _prepared(self, index: int) -> NDArray[np.float32] | NDArray[np.float16]:
        if self.cache is None:
            return self._make(index)
        digest = hashlib.sha256(self.names[index].encode()).hexdigest()[:20]
        path = self.cache / self._mark / digest[:2] / f"{digest}.npy"
        if path.is_file():
            # Mapped, not read: of half an hour a crop takes seconds. Copied on write, as torch wants.
            return np.load(path, mmap_mode="c")  # type: ignore[no-any-return]
        signal = self._make(index).astype(np.float16)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: other workers never see half a file.
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, signal)
        part.replace(path)
        return signal

    def _make(self, index: int) -> NDArray[np.float32]:
        signal = self.preparation.clean(self.read(index), self.names[index])
        return standardise(signal, self.statistics.mean, self.statistics.std, self.preparation.clip)


def measure(
    names: Sequence[str], read: Callable[[int], Record], preparation: Preparation, count: int = 500
) -> Statistics:
    """Mean and deviation per lead over up to ``count`` recordings chosen by key, in double precision.

    Recordings that cannot be read are passed over.

    Raises:
        ValueError: If none can be read, or a lead is constant.
    """
    order = random.permutation(torch.tensor(random.key(0, "statistics")), len(names)).tolist()
    total = np.zeros((3, len(preparation.leads)))
    for index in order[:count]:
        try:
            signal = preparation.clean(read(index), names[index]).astype(np.float64)
        except CorruptSampleError:
            continue
        total += (np.full(len(signal), signal.shape[1]), signal.sum(axis=1), np.square(signal).sum(axis=1))
    if not total[0].any():
        raise ValueError(f"None of {min(count, len(names))} recordings can be read, {names[0]} among them.")
    mean = total[1] / total[0]
    std = np.sqrt(np.maximum(total[2] / total[0] - mean**2, 0))
    flat = [lead for lead, value in zip(preparation.leads, std, strict=True) if value < 1e-6]
    if flat:
        raise ValueError(f"Lead {', '.join(flat)} is constant in all recordings looked at: give statistics.")
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()))

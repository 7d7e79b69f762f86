# SPDX-License-Identifier: Apache-2.0
"""Sound files as waveforms: one channel, one rate, whatever the file has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conjoin.audio.transforms.waveform import resample
from conjoin.core.data import CorruptSampleError

__all__ = ("ClipDataset", "FileDataset", "read_wave", "require")


def require(path: Path, what: str) -> Path:
    """``path`` if it is there.

    Raises:
        FileNotFoundError: Naming what was to be there.
    """
    if not path.exists():
        raise FileNotFoundError(f"{what} is not at {path}: give the folder of the data set as root.")
    return path


def read_wave(path: str | Path, rate: int) -> NDArray[np.float32]:
    """Read a file of any format that libsndfile knows, mixed down to one channel and resampled.

    Args:
        path: The file.
        rate: Samples per second of the result.

    Returns:
        (T,) in [-1, 1] for files of whole numbers.

    Raises:
        CorruptSampleError: If the file is missing or no sound, or holds no samples or values that are not
            finite.
    """
    try:
        wave, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, TypeError) as error:
        raise CorruptSampleError(f"{path} cannot be read as sound: {error}") from error
    if not len(wave):
        raise CorruptSampleError(f"{path} holds no samples.")
    if not np.isfinite(wave).all():
        raise CorruptSampleError(f"{path} holds values that are not finite.")
    return resample(wave.mean(axis=1), found, rate)


class ClipDataset(Dataset[dict[str, Any]], ABC):
    """Waveforms by number. A sample has ``x`` (T,), ``length`` and whatever labels there are.

    A subclass writes :meth:`wave`.

    Args:
        window: Samples that a training clip will have; ``length`` is at most that.
        least: Shorter clips are refused.
        labels: int64 (N,) classes, or float32 (N, L) of 0 and 1; None for none.
    """

    def __init__(self, window: int, least: int = 1, labels: NDArray[Any] | None = None) -> None:
        self.window = window
        self.least = least
        self.labels = labels

    @abstractmethod
    def wave(self, index: int) -> NDArray[np.float32]:
        """The waveform (T,) of a sample."""

    def name(self, index: int) -> str:
        """What messages call a sample."""
        return f"clip {index}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        wave = self.wave(index)
        if len(wave) < self.least:
            raise CorruptSampleError(
                f"{self.name(index)}: {len(wave)} samples are fewer than the {self.least} of one frame."
            )
        sample: dict[str, Any] = {"x": torch.from_numpy(wave), "length": min(len(wave), self.window)}
        if self.labels is not None and self.labels.ndim == 2:
            labels = self.labels[index]
            sample["labels"] = torch.from_numpy(labels)
            sample["label"] = int(labels.argmax()) if labels.sum() == 1 else -1
        elif self.labels is not None:
            sample["label"] = int(self.labels[index])
        return sample


class FileDataset(ClipDataset):
    """Files below a folder, read on demand.

    Args:
        root: Folder that the paths start from.
        paths: Relative paths.
        rate: Samples per second; other rates are resampled.
        window: See :class:`ClipDataset`.
        least: See :class:`ClipDataset`.
        labels: See :class:`ClipDataset`.
    """

    def __init__(
        self,
        root: Path,
        paths: Sequence[str],
        rate: int,
        window: int,
        least: int = 1,
        labels: NDArray[Any] | None = None,
    ) -> None:
        super().__init__(window, least, labels)
        self.root = root
        # One array of bytes: worker processes share it, a list of strings is copied page by page.
        self.paths = np.array([path.encode() for path in paths])
        self.rate = rate

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The file."""
        return str(self.root / self.paths[index].decode())

    def wave(self, index: int) -> NDArray[np.float32]:
        """The waveform (T,)."""
        return read_wave(self.name(index), self.rate)

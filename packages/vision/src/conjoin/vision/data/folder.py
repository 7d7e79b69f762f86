# SPDX-License-Identifier: Apache-2.0
"""Folders of picture files: scanning them fast, reading them one by one."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conjoin.vision.data.decode import EXTENSIONS, read_picture

__all__ = ("FolderDataset", "classes_of", "require_folder", "scan", "warn_lonely")


def require_folder(path: Path, what: str) -> Path:
    """The path, if it is a folder.

    Raises:
        FileNotFoundError: If it does not exist.
        NotADirectoryError: If it is a file.
        PermissionError: If it may not be listed.
    """
    if not path.exists():
        raise FileNotFoundError(f"{what} {path} does not exist: check the path.")
    if not path.is_dir():
        raise NotADirectoryError(f"{what} {path} is a file: give the folder that holds the pictures.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise PermissionError(f"{what} {path} may not be listed: check its permissions.")
    return path


def classes_of(folder: Path) -> tuple[str, ...]:
    """Names of the sub-folders, sorted: the class names of torchvision's layout."""
    with os.scandir(folder) as entries:
        return tuple(
            sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        )


def scan(folder: Path) -> tuple[list[str], int]:
    """All picture files under a folder, and how many other files lie there.

    Returns:
        Paths relative to ``folder``, sorted, and the number of files that have no picture's extension.
    """
    found: list[str] = []
    others = 0
    waiting = [""]
    while waiting:
        relative = waiting.pop()
        # scandir tells files from folders without a system call per file.
        with os.scandir(folder / relative) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = f"{relative}/{entry.name}" if relative else entry.name
                if entry.is_dir():
                    waiting.append(path)
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                    found.append(path)
                else:
                    others += 1
    return sorted(found), others


def warn_lonely(labels: NDArray[np.int64], class_names: Sequence[str], folder: Path) -> None:
    """Warn of classes with one picture: they cannot be in a training and an evaluation split."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    lonely = [name for name, count in zip(class_names, counts, strict=True) if count == 1]
    if lonely:
        more = f" and {len(lonely) - 5} more" if len(lonely) > 5 else ""
        warnings.warn(
            f"{len(lonely)} class(es) of {folder} hold one picture only ({', '.join(lonely[:5])}{more}): "
            "probes can not be trained and tested on them; add pictures or remove those folders.",
            stacklevel=3,
        )


class FolderDataset(Dataset[dict[str, Any]]):
    """Picture files, read on demand.

    The relative paths are one NumPy array of bytes, so worker processes share them (a list of strings is
    copied page by page as soon as its reference counts are touched: gigabytes for ImageNet).

    Args:
        root: The folder that the paths start from.
        paths: Relative paths.
        labels: int64 (N,); -1 when unknown.
        channels: 1 or 3.
        short_side: See :func:`conjoin.vision.data.decode.decode`.
        least_side: Pictures with a side below this are refused as corrupt.
    """

    def __init__(
        self,
        root: Path,
        paths: Sequence[str],
        labels: NDArray[np.int64],
        *,
        channels: int = 3,
        short_side: int | None = None,
        least_side: int = 1,
    ) -> None:
        self.root = str(root)
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.labels = labels
        self.channels = channels
        self.short_side = short_side
        self.least_side = least_side

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return Path(self.root, os.fsdecode(self.paths[index]))

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = read_picture(self.path(index), self.channels, self.short_side, self.least_side)
        return {"x": picture, "label": int(self.labels[index])}

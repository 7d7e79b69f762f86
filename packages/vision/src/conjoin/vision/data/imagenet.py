# SPDX-License-Identifier: Apache-2.0
"""ImageNet in its official layout."""

import re
from pathlib import Path
from typing import Unpack

import numpy as np

from conjoin.core.data import Split
from conjoin.vision.data.folder import FolderDataset, classes_of, require_folder, scan
from conjoin.vision.data.module import ImageModule, ImageOptions
from conjoin.vision.data.splits import held_out
from conjoin.vision.transforms import IMAGENET_MEAN, IMAGENET_STD

__all__ = ("ImageNet",)

_WNID = re.compile(r"n\d{8}")


class ImageNet(ImageModule):
    """``root/train/WNID/*.JPEG`` and ``root/val/WNID/*.JPEG``.

    The official validation pictures are the test split, since accuracies are reported on them; validation,
    for choices, is held out of training by key. With ``val_fraction=0`` nothing is held out and both are the
    official ones.

    A subset file (low-shot protocols) has one ``n01440764_10026.JPEG`` per line; the part before ``_`` is the
    class. It restricts training; validation is held out of it alike.

    Args:
        root: The folder that holds ``train`` and ``val``.
        image_size: Side of the square picture that the encoder sees.
        subset: Text file with the names of the training pictures to keep.
        val_fraction: Share of each class held out of training for validation.
        reduce_large: Decode JPEGs at least twice larger than any crop needs at a fraction of their size.
        **options: See :class:`~conjoin.vision.data.module.ImageOptions`.

    Raises:
        FileNotFoundError: If a folder or the subset file is missing, or a folder has no class folders.
        ValueError: If a line of the subset file is malformed or names an unknown class.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int = 224,
        subset: str | Path | None = None,
        *,
        val_fraction: float = 0.01,
        reduce_large: bool = True,
        **options: Unpack[ImageOptions],
    ) -> None:
        super().__init__(
            image_size,
            3,
            IMAGENET_MEAN,
            IMAGENET_STD,
            **options,
        )
        self.root = require_folder(Path(root), "The ImageNet folder")
        self.val_fraction = val_fraction
        self.reduce_large = reduce_large
        train = require_folder(self.root / "train", "ImageNet's training folder")
        self.class_names = tuple(name for name in classes_of(train) if _WNID.fullmatch(name))
        if not self.class_names:
            raise FileNotFoundError(
                f"{train} has no folders named like n01440764: unpack the official archives there."
            )
        self.num_classes = len(self.class_names)
        self.subset = None if subset is None else self._read_subset(Path(subset))

    def _read_subset(self, path: Path) -> list[str]:
        if not path.is_file():
            raise FileNotFoundError(f"The subset file {path} does not exist: check the path.")
        kept = []
        known = set(self.class_names or ())
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            name = line.strip()
            if not name:
                continue
            wnid = name.split("_", 1)[0]
            if "_" not in name or not _WNID.fullmatch(wnid):
                raise ValueError(f"{path}, line {number}: {name!r} is not of the form n01440764_10026.JPEG.")
            if wnid not in known:
                raise ValueError(f"{path}, line {number}: class {wnid} is not in {self.root / 'train'}.")
            kept.append(f"{wnid}/{name}")
        if not kept:
            raise ValueError(
                f"The subset file {path} names no pictures: one name such as n01440764_10026.JPEG a line."
            )
        return sorted(set(kept))

    def build(self, split: Split) -> FolderDataset:
        """Train and validation from ``train``, test from ``val``."""
        official = split == "test" or (split == "val" and not self.val_fraction)
        root = self.root / ("val" if official else "train")
        if official or self.subset is None:
            paths, _ = scan(require_folder(root, "ImageNet's folder"))
        else:
            paths = self.subset
        number = {name: label for label, name in enumerate(self.class_names or ())}
        paths = [path for path in paths if path.split("/", 1)[0] in number]
        if not paths:
            raise FileNotFoundError(
                f"{root} holds no pictures in class folders: sort them into folders by WNID."
            )
        labels = np.array([number[path.split("/", 1)[0]] for path in paths], np.int64)
        if not official:
            chosen = held_out(labels, split, self.val_fraction)
            paths, labels = [paths[position] for position in chosen], labels[chosen]
        return FolderDataset(
            root,
            paths,
            labels,
            short_side=self.short_side if self.reduce_large else None,
            least_side=self.patch_size or 1,
        )

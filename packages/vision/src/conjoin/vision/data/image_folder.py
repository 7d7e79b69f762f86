# SPDX-License-Identifier: Apache-2.0
"""Any folder of pictures, with or without labels."""

from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from conjoin.core.data import Split
from conjoin.vision.data.folder import FolderDataset, classes_of, require_folder, scan, warn_lonely
from conjoin.vision.data.module import ImageModule, ImageOptions
from conjoin.vision.data.splits import keyed_split
from conjoin.vision.transforms import IMAGENET_MEAN, IMAGENET_STD

__all__ = ("ImageFolder",)

_SPLIT_FOLDERS: tuple[Split, ...] = ("train", "val", "test")


class ImageFolder(ImageModule):
    """Picture files in one of three layouts, recognised by what is there.

    * ``root/train/CLASS/*.jpg``, and ``root/val/CLASS`` and ``root/test/CLASS`` where they exist;
    * ``root/CLASS/*.jpg``: splits are made by key;
    * ``root/*.jpg`` or ``root/train/*.jpg``: no labels (``label`` is -1), ``num_classes`` is ``None``.

    A split without a folder of its own is held out of the training pictures, class by class, always the same
    ones for the same ``split_seed``. Pictures smaller than the crop are enlarged; those with a side below
    ``patch_size`` and unreadable ones are skipped, named in a warning and counted up to ``max_corrupt``.

    Args:
        root: The folder.
        image_size: Side of the square picture that the encoder sees.
        channels: 1 for gray, 3 for RGB.
        mean: Per channel, in [0, 1]; ImageNet's if not given.
        std: Per channel; ImageNet's if not given.
        val_fraction: Share held out for validation if there is no folder ``val``.
        test_fraction: Share held out for testing if there is no folder ``test``.
        split_seed: Seed of the held-out splits, apart from the run's.
        reduce_large: Decode JPEGs at least twice larger than any crop needs at a fraction of their size.
        **options: See :class:`~conjoin.vision.data.module.ImageOptions`.

    Raises:
        FileNotFoundError: If the folder is missing, empty or without pictures.
        ValueError: If an argument lies outside its range, or a split's classes differ from training's.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int = 224,
        channels: int = 3,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        *,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        reduce_large: bool = True,
        **options: Unpack[ImageOptions],
    ) -> None:
        average = sum(IMAGENET_MEAN) / 3, sum(IMAGENET_STD) / 3
        super().__init__(
            image_size,
            channels,
            mean or (IMAGENET_MEAN if channels == 3 else average[:1]),
            std or (IMAGENET_STD if channels == 3 else average[1:]),
            **options,
        )
        self.root = require_folder(Path(root), "The picture folder")
        self.reduce_large = reduce_large
        self.shares = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self._own = {split for split in _SPLIT_FOLDERS if (self.root / split).is_dir()}
        self._train_folder = self.root / "train" if "train" in self._own else self.root
        if self._own and "train" not in self._own:
            raise FileNotFoundError(
                f"{self.root} has {' and '.join(sorted(self._own))} but no train: put the training "
                "pictures into "
                f"{self.root / 'train'}, or name the folders otherwise if they are classes."
            )
        self._paths, self._labels = self._list(self._train_folder, None)
        names = self.class_names
        if names is not None:
            self.num_classes = len(names)
            warn_lonely(self._labels, names, self._train_folder)
        needed = {split: share for split, share in self.shares.items() if split not in self._own}
        self._positions = keyed_split(self._labels, needed, split_seed)

    def _list(self, folder: Path, names: tuple[str, ...] | None) -> tuple[list[str], NDArray[np.int64]]:
        """Paths and labels under a folder; ``names`` are training's classes, ``None`` for training itself."""
        paths, others = scan(require_folder(folder, "The picture folder"))
        if not paths:
            inside = f"holds {others} file(s) but no picture" if others else "is empty"
            raise FileNotFoundError(f"{folder} {inside}: put .jpg, .png, .webp or other pictures there.")
        found = classes_of(folder)
        if not found or (names is None and all("/" not in path for path in paths)):
            if names is not None:
                raise ValueError(
                    f"{folder} has no class folders, but {self._train_folder} has: sort its pictures too."
                )
            return paths, np.full(len(paths), -1, np.int64)
        loose = [path for path in paths if "/" not in path]
        if loose:
            raise ValueError(
                f"{folder} holds {len(loose)} picture(s) beside its class folders ({loose[0]}): move them "
                "into classes, "
                "or all pictures into one flat folder if there are no labels."
            )
        used = tuple(sorted({path.split("/", 1)[0] for path in paths}))
        if names is None:
            names = used
            self.class_names = used
        unknown = set(used) - set(names)
        if unknown:
            raise ValueError(
                f"{folder} has the class {min(unknown)!r}, which {self._train_folder} lacks: rename or "
                "remove it."
            )
        number = {name: label for label, name in enumerate(names)}
        return paths, np.array([number[path.split("/", 1)[0]] for path in paths], np.int64)

    def build(self, split: Split) -> FolderDataset:
        """The pictures of a split, from its folder or held out of training's."""
        if split != "train" and split in self._own:
            root = self.root / split
            if self.class_names is None:
                paths, _ = scan(root)
                labels = np.full(len(paths), -1, np.int64)
            else:
                paths, labels = self._list(root, self.class_names)
        else:
            root, chosen = self._train_folder, self._positions[split]
            paths, labels = [self._paths[position] for position in chosen], self._labels[chosen]
        if not paths:
            raise ValueError(
                f"{self.root} has no {split} pictures: add a folder {self.root / split}, set "
                f"{split}_fraction above 0, "
                "or add pictures (classes of one stay in training)."
            )
        return FolderDataset(
            root,
            paths,
            labels,
            channels=self.channels,
            short_side=self.short_side if self.reduce_large else None,
            least_side=self.patch_size or 1,
        )

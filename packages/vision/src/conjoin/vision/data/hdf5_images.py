# SPDX-License-Identifier: Apache-2.0
"""Pictures packed into HDF5 files, one per split, as the CNN-JEPA release packs ImageNet and ImageNet-100.

A file has two groups: ``images`` with the data sets ``"0"``, ``"1"`` ..., each the bytes of one JPEG or
other picture file, and ``labels`` with an integer under each of the same names. Two files are quicker to copy
and to read over a network than a million small ones.
"""

import os
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conjoin.core.data import CorruptSampleError, Split
from conjoin.vision.data.decode import decode_picture
from conjoin.vision.data.folder import require_folder
from conjoin.vision.data.module import ImageModule, ImageOptions
from conjoin.vision.data.splits import held_out
from conjoin.vision.transforms import IMAGENET_MEAN, IMAGENET_STD

__all__ = ("HDF5Dataset", "HDF5Images", "read_labels")


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Pictures in HDF5 files need h5py: python -m pip install h5py.") from error
    return h5py


def read_labels(path: Path) -> NDArray[np.int64]:
    """The labels (N,) of a file, which is looked over on the way.

    Raises:
        ValueError: If it is no HDF5 file, or its groups are not as they must be.
    """
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in ("images", "labels") if not isinstance(file.get(name), h5py.Group)]
            if missing:
                raise ValueError(
                    f"{path} has no group {' and no group '.join(missing)}, only "
                    f"{', '.join(file) or 'nothing'}: is it a file of packed pictures?"
                )
            images, group = file["images"], file["labels"]
            if len(images) != len(group) or not len(group):
                raise ValueError(f"{path} holds {len(images)} pictures and {len(group)} labels.")
            if f"{len(group) - 1}" not in images:
                raise ValueError(f"{path}: its {len(group)} pictures are not numbered from 0 on.")
            labels = np.empty(len(group), np.int64)
            value, whole = np.empty((), np.int64), h5py.h5s.ALL
            for index in range(len(group)):
                # The low-level call, since there may be a million: group[...] takes several times as long.
                h5py.h5d.open(group.id, str(index).encode()).read(whole, whole, value)
                labels[index] = value
    except KeyError as error:
        raise ValueError(f"{path} has no label for picture {index}.") from error
    except (OSError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as HDF5: {error}.") from error
    if labels.min() < 0:
        raise ValueError(f"{path}: picture {int(labels.argmin())} has the label {labels.min()}.")
    return labels


class HDF5Dataset(Dataset[dict[str, Any]]):
    """Pictures of one file, decoded on demand.

    Each process opens the file for itself at its first picture: an open file survives no fork.

    Args:
        path: The file.
        numbers: Which pictures, by their number in the file.
        labels: int64 (N,).
        channels: 1 or 3.
        short_side: See :func:`conjoin.vision.data.decode.decode`.
        least_side: Pictures with a side below this are refused as corrupt.
    """

    def __init__(
        self,
        path: Path,
        numbers: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        channels: int = 3,
        short_side: int | None = None,
        least_side: int = 1,
    ) -> None:
        self.path = path
        self.numbers = numbers
        self.labels = labels
        self.channels = channels
        self.short_side = short_side
        self.least_side = least_side
        self._open: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def _images(self) -> Any:
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), _h5py().File(self.path, "r")["images"]
        return self._open[1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = int(self.numbers[index])
        what = f"{self.path}, picture {number},"
        try:
            data = np.asarray(self._images()[str(number)], np.uint8).tobytes()
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise CorruptSampleError(f"{what} cannot be read ({error}); pack the file anew.") from error
        picture = decode_picture(data, what, self.channels, self.short_side, self.least_side)
        return {"x": picture, "label": int(self.labels[index])}


class HDF5Images(ImageModule):
    """``root/NAME-train.h5`` and ``root/NAME-val.h5``.

    The pictures of ``NAME-val.h5`` are the test split, since accuracies are reported on them; validation, for
    choices, is held out of training by key. With ``val_fraction=0`` nothing is held out and both are those of
    ``NAME-val.h5``. All labels of a file are read when its split is first asked for, a million in about two
    minutes.

    Args:
        root: The folder that holds the files.
        name: Of the set: ``"imagenet-100"`` or ``"imagenet"`` in the release.
        image_size: Side of the square picture that the encoder sees.
        channels: 1 for gray, 3 for RGB.
        val_fraction: Share of each class held out of training for validation.
        reduce_large: Decode JPEGs at least twice larger than any crop needs at a fraction of their size.
        **options: See :class:`~conjoin.vision.data.module.ImageOptions`.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If an argument lies outside its range.
    """

    def __init__(
        self,
        root: str | Path,
        name: str = "imagenet-100",
        image_size: int = 224,
        channels: int = 3,
        *,
        val_fraction: float = 0.01,
        reduce_large: bool = True,
        **options: Unpack[ImageOptions],
    ) -> None:
        # One number each for gray pictures: the base gives it to all channels.
        mean, std = (
            values if channels == 3 else (sum(values) / 3,) for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        super().__init__(image_size, channels, mean, std, **options)
        folder = require_folder(Path(root), "The folder of packed pictures")
        self.files = {part: folder / f"{name}-{part}.h5" for part in ("train", "val")}
        for path in self.files.values():
            if not path.is_file():
                raise FileNotFoundError(
                    f"There is no {path}: give the folder as root and the set's name as name."
                )
        self.val_fraction = val_fraction
        self.reduce_large = reduce_large
        self._labels: dict[str, NDArray[np.int64]] = {}

    def setup(self, stage: str) -> None:
        """Learn the number of classes before callbacks ask for it."""
        self.labels("train")

    def labels(self, part: str) -> NDArray[np.int64]:
        """The labels of ``"train"`` or ``"val"``, read once; training's say how many classes there are.

        Raises:
            ValueError: If the file is not as it must be, or has a class that training lacks.
        """
        if part not in self._labels:
            self._labels[part] = read_labels(self.files[part])
            self.num_classes = int(self.labels("train").max()) + 1
            if self._labels[part].max() >= self.num_classes:
                raise ValueError(
                    f"{self.files[part]} has the label {self._labels[part].max()}, but those of "
                    f"{self.files['train']} end at {self.num_classes - 1}: do they belong together?"
                )
        return self._labels[part]

    def build(self, split: Split) -> HDF5Dataset:
        """Train and validation from the training file, test from the other."""
        official = split == "test" or (split == "val" and not self.val_fraction)
        part = "val" if official else "train"
        labels = self.labels(part)
        chosen = np.arange(len(labels)) if official else held_out(labels, split, self.val_fraction)
        return HDF5Dataset(
            self.files[part],
            chosen,
            labels[chosen],
            channels=self.channels,
            short_side=self.short_side if self.reduce_large else None,
            least_side=self.patch_size or 1,
        )

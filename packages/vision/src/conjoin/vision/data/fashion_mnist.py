# SPDX-License-Identifier: Apache-2.0
"""The whole of Fashion-MNIST (or MNIST: the format is the same) from its official idx files."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conjoin.core.data import Split
from conjoin.vision.data.arrays import ArrayDataset, subset
from conjoin.vision.data.folder import require_folder
from conjoin.vision.data.module import ImageModule
from conjoin.vision.data.splits import held_out

__all__ = ("FashionMNIST", "read_idx")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, gzipped or not.

    Raises:
        ValueError: If it is damaged, no idx file of bytes, or its length is not what its header says.
    """
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file ({error}): fetch it again.") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no idx file of bytes: fetch the official file again.")
    start = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist())
    if len(data) != start + math.prod(shape) or len(shape) != data[3]:
        raise ValueError(
            f"{path} has {len(data) - start} bytes of data where its header says {shape}: fetch it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


class FashionMNIST(ImageModule):
    """Fashion-MNIST: 60,000 + 10,000 gray pictures of 28 x 28 in 10 classes.

    Args:
        root: The folder with the four idx files (``.gz`` or unpacked); Debian's package dataset-fashion-mnist
            puts them into ``/usr/share/datasets/fashion-mnist``. If not given:
            ``$CONJOIN_DATA/fashion-mnist``, then Debian's folder.
        image_size: Side of the picture that the encoder sees.
        channels: 1, or 3 to repeat the gray values.
        scale: Share of the area that the random training crop keeps; ``None`` trains on whole pictures.
        flip: Probability of a horizontal flip in training.
        patch_size: The encoder's patch, to check the size against.
        val_fraction: Share of each class held out of the training file for validation.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
    """

    num_classes = 10
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )

    def __init__(
        self,
        root: str | Path | None = None,
        image_size: int = 28,
        channels: int = 1,
        *,
        scale: tuple[float, float] | None = None,
        flip: float = 0.0,
        patch_size: int | None = None,
        val_fraction: float = 0.1,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size,
            channels,
            (0.286,),
            (0.353,),
            scale=scale,
            flip=flip,
            resize=image_size,
            patch_size=patch_size,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        if root is None:
            given = Path(os.environ.get("CONJOIN_DATA", "/nonexistent"), "fashion-mnist")
            root = given if given.is_dir() else Path("/usr/share/datasets/fashion-mnist")
        self.root = require_folder(Path(root), "The Fashion-MNIST folder")
        self.val_fraction = val_fraction
        for part in ("train", "t10k"):
            for name in ("images-idx3", "labels-idx1"):
                self._file(f"{part}-{name}-ubyte")

    def _file(self, name: str) -> Path:
        for path in (self.root / f"{name}.gz", self.root / name):
            if path.is_file():
                return path
        raise FileNotFoundError(f"{self.root} lacks {name}.gz: put the four official files there.")

    def build(self, split: Split) -> ArrayDataset:
        """Train and validation from the training files, test from t10k."""
        part = "t10k" if split == "test" else "train"
        images = read_idx(self._file(f"{part}-images-idx3-ubyte"))
        labels = read_idx(self._file(f"{part}-labels-idx1-ubyte")).astype(np.int64)
        if len(images) != len(labels) or images.ndim != 3:
            raise ValueError(
                f"{self.root}: {part} has pictures {images.shape} for {len(labels)} labels: fetch it again."
            )
        chosen = None if split == "test" else held_out(labels, split, self.val_fraction)
        return subset(images[:, None], labels, chosen)

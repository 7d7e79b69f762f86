# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and CIFAR-100 from their official files.

The binary version (``cifar-10-batches-bin``, ``cifar-100-binary``) is a row of records: one label byte
(CIFAR-100: the coarse, then the fine), then 3 x 32 x 32 pixels, channel by channel. The python version
(``cifar-10-batches-py``, ``cifar-100-python``) is read through an unpickler that knows arrays only.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from conjoin.core.data import Split
from conjoin.vision.data.arrays import ArrayDataset, subset
from conjoin.vision.data.folder import require_folder
from conjoin.vision.data.module import ImageModule
from conjoin.vision.data.restricted_pickle import load_arrays
from conjoin.vision.data.splits import held_out

__all__ = ("CIFAR10", "CIFAR100")

_PIXELS = 3 * 32 * 32
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class _CIFAR(ImageModule):
    """What both sets share."""

    folders: ClassVar[dict[str, str]]
    files: ClassVar[dict[str, dict[str, tuple[str, ...]]]]
    labels_before: ClassVar[int]
    statistics: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]

    def __init__(
        self,
        root: str | Path,
        image_size: int = 32,
        *,
        scale: tuple[float, float] | None = (0.3, 1.0),
        flip: float = 0.0,
        color: float = 0.0,
        blur: float = 0.0,
        patch_size: int | None = None,
        val_fraction: float = 0.1,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size,
            3,
            *self.statistics,
            scale=scale,
            flip=flip,
            color=color,
            blur=blur,
            resize=image_size,
            patch_size=patch_size,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        self.val_fraction = val_fraction
        self.version, self.root = self._find(require_folder(Path(root), "The CIFAR folder"))
        for names in self.files[self.version].values():
            for name in names:
                self._check_size(self.root / name)

    def _find(self, root: Path) -> tuple[str, Path]:
        for version, folder in self.folders.items():
            for candidate in (root / folder, root):
                files = [candidate / name for names in self.files[version].values() for name in names]
                if any(file.is_file() for file in files):
                    missing = [file.name for file in files if not file.is_file()]
                    if missing:
                        raise FileNotFoundError(
                            f"{candidate} lacks {', '.join(missing)}: unpack the whole archive."
                        )
                    return version, candidate
        wanted = " or ".join(self.folders.values())
        raise FileNotFoundError(f"{root} holds no files of {wanted}: unpack the official archive there.")

    def _check_size(self, path: Path) -> None:
        size, record = path.stat().st_size, self.labels_before + _PIXELS
        if self.version == "binary" and (not size or size % record):
            raise ValueError(
                f"{path} has {size} bytes, which is no multiple of the {record} bytes of a record: fetch "
                "it again."
            )

    def _read(self, path: Path) -> Arrays:
        if self.version == "binary":
            records = np.fromfile(path, np.uint8).reshape(-1, self.labels_before + _PIXELS)
            return records[:, self.labels_before :], records[:, self.labels_before - 1]
        stored = load_arrays(path)
        try:
            pixels = np.asarray(stored[b"data"], np.uint8)
            labels = np.asarray(
                stored[b"labels"] if b"labels" in stored else stored[b"fine_labels"], np.uint8
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} has no data and labels: fetch the official file again.") from error
        if pixels.shape != (len(labels), _PIXELS):
            raise ValueError(
                f"{path} holds an array {pixels.shape} for {len(labels)} labels: fetch it again."
            )
        return pixels, labels

    def build(self, split: Split) -> ArrayDataset:
        """Train and validation from the training files, test from the test file."""
        official = "test" if split == "test" else "train"
        parts = []
        for name in self.files[self.version][official]:
            path = self.root / name
            pixels, labels = self._read(path)
            if self.num_classes is not None and labels.max() >= self.num_classes:
                raise ValueError(
                    f"{path} has the label {labels.max()}, but there are {self.num_classes} classes: it "
                    "belongs to another set."
                )
            parts.append((pixels, labels))
        images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
        classes = np.concatenate([labels for _, labels in parts]).astype(np.int64)
        chosen = None if split == "test" else held_out(classes, split, self.val_fraction)
        return subset(images, classes, chosen)


class CIFAR10(_CIFAR):
    """CIFAR-10: 50,000 + 10,000 colour pictures of 32 x 32 in 10 classes.

    Args:
        root: The folder with the files, or the one that holds the unpacked archive.
        image_size: Side of the picture that the encoder sees.
        scale: Share of the area that the random training crop keeps; ``None`` trains on whole pictures.
        flip: Probability of a horizontal flip in training.
        color: Strength of the colour distortion in training.
        blur: Probability of a blur in training.
        patch_size: The encoder's patch, to check the size against.
        val_fraction: Share of each class held out of the training files for validation.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If a file has a wrong size or a wrong label.
    """

    folders: ClassVar = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}
    files: ClassVar = {
        "binary": {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
        "python": {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
    }
    labels_before: ClassVar = 1
    statistics: ClassVar = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    num_classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR100(_CIFAR):
    """CIFAR-100: 50,000 + 10,000 colour pictures of 32 x 32 in 100 fine classes.

    Args:
        root: The folder with the files, or the one that holds the unpacked archive.
        image_size: Side of the picture that the encoder sees.
        scale: Share of the area that the random training crop keeps; ``None`` trains on whole pictures.
        flip: Probability of a horizontal flip in training.
        color: Strength of the colour distortion in training.
        blur: Probability of a blur in training.
        patch_size: The encoder's patch, to check the size against.
        val_fraction: Share of each class held out of the training files for validation.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If a file has a wrong size or a wrong label.
    """

    folders: ClassVar = {"binary": "cifar-100-binary", "python": "cifar-100-python"}
    files: ClassVar = {
        "binary": {"train": ("train.bin",), "test": ("test.bin",)},
        "python": {"train": ("train",), "test": ("test",)},
    }
    labels_before: ClassVar = 2
    statistics: ClassVar = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    num_classes = 100

    def _find(self, root: Path) -> tuple[str, Path]:
        version, folder = super()._find(root)
        names = folder / "fine_label_names.txt"
        if names.is_file():
            self.class_names = tuple(names.read_text().split())
        return version, folder

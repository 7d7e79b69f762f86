# SPDX-License-Identifier: Apache-2.0
"""ModelNet40 and ScanObjectNN: HDF5 files with ``data`` (N, 2048, 3) and ``label``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from conjoin.core.data import Split
from conjoin.pointcloud.data.module import CloudArrays, PointCloudModule, held_out
from conjoin.pointcloud.transforms.geometry import Axis, Subsample

__all__ = ("ModelNet40", "ScanObjectNN", "read_hdf5")

_SCAN_CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door"),
    *("shelf", "table", "bed", "pillow", "sink", "sofa", "toilet"),
)


def read_hdf5(files: Sequence[Path]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clouds (N, P, 3) and labels (N,) of several files, one after the other.

    Raises:
        ValueError: If a file is no HDF5 file, is empty, lacks ``data`` or ``label``, or they do not fit
            together.
    """
    import h5py

    parts: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for path in files:
        try:
            with h5py.File(path, "r") as file:
                missing = [name for name in ("data", "label") if name not in file]
                if missing:
                    raise ValueError(
                        f"{path} has no {' and no '.join(missing)}, only {', '.join(file) or 'nothing'}."
                    )
                points: NDArray[Any] = np.asarray(file["data"])
                label: NDArray[Any] = np.asarray(file["label"]).reshape(-1)
        except OSError as error:
            raise ValueError(f"{path} cannot be read as HDF5: {error}.") from error
        if points.ndim != 3 or points.shape[2] < 3 or len(points) != len(label):
            raise ValueError(
                f"{path} should hold data (N, P, 3) and N labels, not {points.shape} and {label.shape}."
            )
        if not len(points):
            raise ValueError(f"{path} holds no cloud.")
        parts.append(points[..., :3].astype(np.float32))
        labels.append(label.astype(np.int64))
    counts = {part.shape[1] for part in parts}
    if len(counts) > 1:
        raise ValueError(
            f"The files of {files[0].parent} have different numbers of points: {sorted(counts)}."
        )
    return np.concatenate(parts), np.concatenate(labels)


class _Hdf5Module(PointCloudModule, ABC):
    """Clouds of HDF5 files; validation is held out of training."""

    @abstractmethod
    def files(self, part: str) -> list[Path]:
        """The files of ``"train"`` or ``"test"``."""

    def build(self, split: Split) -> CloudArrays:
        """Read a split into memory."""
        points, label = read_hdf5(self.files("test" if split == "test" else "train"))
        if self.points > points.shape[1]:
            raise ValueError(
                f"points must be at most the {points.shape[1]} that the files have of each cloud, not "
                f"{self.points}."
            )
        if self.num_classes is not None and (label.min() < 0 or label.max() >= self.num_classes):
            raise ValueError(
                f"The {split} split has labels from {label.min()} to {label.max()}, but there are "
                f"{self.num_classes} classes."
            )
        if split != "test":
            chosen = held_out(label, split, self.val_fraction)
            points, label = points[chosen], label[chosen]
        return CloudArrays(points, label, self.points, f"the {split} split")


class ModelNet40(_Hdf5Module):
    """ModelNet40: ``ply_data_train*.h5``, ``ply_data_test*.h5`` and ``shape_names.txt``.

    Args:
        root: The folder ``modelnet40_ply_hdf5_2048``.
        points: Points that the encoder gets of each cloud.
        subsample: How they are chosen: ``"fps"`` as released, or ``"random"``.
        scale: Range of the stretch of each axis in training; None for none.
        rotate: Upright axis that training turns about; None for no rotation.
        val_fraction: Share of the training split that is held out for validation.
        batch_size: Clouds per batch and process.
        num_workers: Worker processes per loader; 0 is best for clouds that are in memory.
        eval_batch_size: Clouds per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unusable clouds that may be skipped, per worker process.

    Raises:
        FileNotFoundError: If a file is missing.
    """

    def __init__(
        self,
        root: str,
        points: int = 1024,
        *,
        subsample: Subsample = "fps",
        scale: tuple[float, float] | None = (0.8, 1.2),
        rotate: Axis | None = None,
        val_fraction: float = 0.1,
        batch_size: int = 32,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            points,
            subsample=subsample,
            scale=scale,
            rotate=rotate,
            val_fraction=val_fraction,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
            max_corrupt=max_corrupt,
        )
        self.root = Path(root)
        names = self.root / "shape_names.txt"
        if not names.is_file():
            raise FileNotFoundError(f"ModelNet40 needs {names}: unpack modelnet40_ply_hdf5_2048 there.")
        self.class_names = tuple(line.strip() for line in names.read_text().splitlines() if line.strip())
        self.num_classes = len(self.class_names)

    def files(self, part: str) -> list[Path]:
        """``ply_data_<part>*.h5``, sorted."""
        found = sorted(self.root.glob(f"ply_data_{part}*.h5"))
        if not found:
            raise FileNotFoundError(f"There is no ply_data_{part}*.h5 in {self.root}.")
        return found


class ScanObjectNN(_Hdf5Module):
    """ScanObjectNN: scanned objects of 15 classes, in three degrees of difficulty.

    Args:
        root: The folder ``h5_files`` (or the one that holds it).
        variant: ``"hardest"`` (PB_T50_RS, moved, rotated and scaled boxes), ``"obj_bg"`` or ``"obj_only"``.
        points: Points that the encoder gets of each cloud.
        subsample: How they are chosen: ``"fps"`` as released, or ``"random"``.
        scale: Range of the stretch of each axis in training; None for none.
        rotate: Upright axis that training turns about; None for no rotation.
        val_fraction: Share of the training split that is held out for validation.
        batch_size: Clouds per batch and process.
        num_workers: Worker processes per loader; 0 is best for clouds that are in memory.
        eval_batch_size: Clouds per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unusable clouds that may be skipped, per worker process.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the variant is unknown.
    """

    VARIANTS: ClassVar[dict[str, tuple[str, str]]] = {
        "hardest": ("main_split", "objectdataset_augmentedrot_scale75"),
        "obj_bg": ("main_split", "objectdataset"),
        "obj_only": ("main_split_nobg", "objectdataset"),
    }

    def __init__(
        self,
        root: str,
        variant: Literal["hardest", "obj_bg", "obj_only"] = "hardest",
        points: int = 2048,
        *,
        subsample: Subsample = "fps",
        scale: tuple[float, float] | None = (0.9, 1.1),
        rotate: Axis | None = "y",
        val_fraction: float = 0.1,
        batch_size: int = 32,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            points,
            subsample=subsample,
            scale=scale,
            rotate=rotate,
            val_fraction=val_fraction,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
            max_corrupt=max_corrupt,
        )
        if variant not in self.VARIANTS:
            raise ValueError(f"variant must be one of {tuple(self.VARIANTS)}, not {variant!r}.")
        self.root = Path(root)
        self.variant = variant
        self.class_names = _SCAN_CLASSES
        self.num_classes = len(_SCAN_CLASSES)

    def files(self, part: str) -> list[Path]:
        """The one file of the variant."""
        folder, stem = self.VARIANTS[self.variant]
        name = f"{'training' if part == 'train' else 'test'}_{stem}.h5"
        for root in (self.root, self.root / "h5_files"):
            if (root / folder / name).is_file():
                return [root / folder / name]
        raise FileNotFoundError(f"ScanObjectNN ({self.variant}) needs {self.root / folder / name}.")

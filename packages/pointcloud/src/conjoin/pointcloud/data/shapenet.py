# SPDX-License-Identifier: Apache-2.0
"""ShapeNet55 as packaged for Point-BERT: one ``.npy`` file per object, lists of names per split."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from conjoin.core.data import CorruptSampleError, Split
from conjoin.pointcloud.data.module import PointCloudModule, checked_cloud, held_out
from conjoin.pointcloud.transforms.geometry import Axis, Subsample

__all__ = ("CloudFiles", "ShapeNet55")


class CloudFiles(Dataset[dict[str, Any]]):
    """Clouds in ``.npy`` files, read when asked for.

    Args:
        files: Their paths.
        label: (N,) int64.
        stored: Points that every cloud is brought to, so that they can be stacked: a larger one is cut, a
            smaller one repeats its first points.
        least: Points that a cloud must have.
    """

    def __init__(self, files: list[Path], label: NDArray[np.int64], stored: int, least: int) -> None:
        self.files = files
        self.label = label
        self.stored = stored
        self.least = least

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.files[index]
        try:
            points = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CorruptSampleError(f"{path} cannot be read: {error}.") from error
        cloud = checked_cloud(points, self.least, str(path))
        if len(cloud) != self.stored:
            cloud = cloud[np.arange(self.stored) % len(cloud)]
        return {"x": torch.from_numpy(cloud), "label": int(self.label[index])}


class ShapeNet55(PointCloudModule):
    """``shapenet_pc/<synset>-<model>.npy`` (8192, 3) and the lists ``train.txt`` and ``test.txt``.

    The label is the place of the synset among the sorted ones of both lists. Validation is held out of
    training.

    Args:
        root: Folder with ``shapenet_pc`` and the lists (which may lie in a folder ``ShapeNet-55`` beside it).
        points: Points that the encoder gets of each cloud.
        train_list: List of the training split, e.g. ``"train_25"`` for a quarter of it.
        stored: Points per file; others are cut or filled up.
        subsample: How points are chosen: ``"fps"`` as released, or ``"random"``, which is much cheaper on a
            CPU.
        scale: Range of the stretch of each axis in training; None for none.
        rotate: Upright axis that training turns about; None for no rotation.
        val_fraction: Share of the training split that is held out for validation.
        batch_size: Clouds per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Clouds per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unusable files that may be skipped, per worker process.

    Raises:
        FileNotFoundError: If a list or a file in it is missing.
        ValueError: If a name in a list is no ``<synset>-<model>.npy``.
    """

    def __init__(
        self,
        root: str,
        points: int = 1024,
        *,
        train_list: str = "train",
        stored: int = 8192,
        subsample: Subsample = "fps",
        scale: tuple[float, float] | None = (0.8, 1.2),
        rotate: Axis | None = "y",
        val_fraction: float = 0.05,
        batch_size: int = 64,
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
        if stored < points:
            raise ValueError(f"stored must be at least points ({points}), not {stored}.")
        self.root = Path(root)
        self.stored = stored
        self.names = {name: self._list(name) for name in (train_list, "test")}
        self.train_list = train_list
        synsets = {_synset(name) for names in self.names.values() for name in names}
        self.class_names = tuple(sorted(synsets))
        self.num_classes = len(self.class_names)

    def build(self, split: Split) -> CloudFiles:
        """The files of a split; the first and the last are looked for: a wrong root is told at once."""
        names = self.names["test" if split == "test" else self.train_list]
        label = np.array([self._class(_synset(name)) for name in names], np.int64)
        chosen = np.arange(len(names)) if split == "test" else held_out(label, split, self.val_fraction)
        files = [self.root / "shapenet_pc" / names[row] for row in chosen]
        for path in (files[0], files[-1]):
            if not path.is_file():
                raise FileNotFoundError(f"{path}, named in the list of the {split} split, does not exist.")
        return CloudFiles(files, label[chosen], self.stored, self.points)

    def _class(self, synset: str) -> int:
        assert self.class_names is not None
        return self.class_names.index(synset)

    def _list(self, name: str) -> list[str]:
        for folder in (self.root, self.root / "ShapeNet-55"):
            path = folder / f"{name}.txt"
            if path.is_file():
                names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
                if not names:
                    raise ValueError(f"{path} is empty.")
                return names
        raise FileNotFoundError(
            f"ShapeNet55 needs {name}.txt in {self.root}, beside the folder shapenet_pc: see the "
            f"Point-BERT packaging."
        )


def _synset(name: str) -> str:
    synset, dash, _ = name.partition("-")
    if not dash or not name.endswith(".npy"):
        raise ValueError(f"{name!r} in a list of ShapeNet55 is not of the form <synset>-<model>.npy.")
    return synset

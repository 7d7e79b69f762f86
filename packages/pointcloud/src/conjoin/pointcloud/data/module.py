# SPDX-License-Identifier: Apache-2.0
"""What all point-cloud data modules share: subsampling, augmentation, normalisation, checks.

Whole batches are transformed on their device, in the order of the Point-JEPA release: subsample, stretch
each axis, centre, scale into the unit sphere, rotate about the upright axis; evaluation leaves out stretch
and rotation. Draws are keyed by (seed, epoch, index); those of evaluation never change.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from conjoin.core import random
from conjoin.core.data import CorruptSampleError, DataModule
from conjoin.core.masking import Masks
from conjoin.pointcloud.transforms import center, rotate, shape_descriptor, stretch, subsample, unit_sphere
from conjoin.pointcloud.transforms.geometry import Axis, Subsample

if TYPE_CHECKING:
    from conjoin.core.report.gallery import Panel

__all__ = ("CloudArrays", "PointCloudModule", "checked_cloud", "held_out")


def checked_cloud(points: NDArray[Any], least: int, what: str) -> NDArray[np.float32]:
    """A cloud (N, 3) that can be trained on.

    Args:
        points: (N, 3 or more); columns after the third are dropped.
        least: Points that it must have.
        what: Names the cloud in messages.

    Raises:
        CorruptSampleError: If it has another type or shape, too few points, values that are not finite, or no
            extent.
    """
    if points.dtype.kind not in "fiu":
        raise CorruptSampleError(f"{what} holds values of type {points.dtype}, not real numbers.")
    if points.ndim != 2 or points.shape[1] < 3:
        raise CorruptSampleError(f"{what} has shape {points.shape}, not (N, 3).")
    cloud = np.asarray(points[:, :3], np.float32)
    if len(cloud) < least:
        raise CorruptSampleError(f"{what} has {len(cloud)} points, fewer than the {least} that are wanted.")
    if not np.isfinite(cloud).all():
        bad = int((~np.isfinite(cloud)).any(1).sum())
        raise CorruptSampleError(f"{what} has {bad} points that are not finite (NaN or infinite).")
    if (cloud == cloud[0]).all():
        raise CorruptSampleError(f"{what} is one point {len(cloud)} times.")
    return cloud


class CloudArrays(Dataset[dict[str, Any]]):
    """Clouds that are in memory.

    Args:
        points: (N, P, 3 or more).
        label: (N,).
        least: Points that a cloud must have.
        name: Of the source, for messages.
    """

    def __init__(self, points: NDArray[Any], label: NDArray[Any], least: int, name: str) -> None:
        if len(points) != len(label):
            raise ValueError(f"{name} has {len(points)} clouds but {len(label)} labels.")
        self.points = points
        self.label = label.astype(np.int64)
        self.least = least
        self.name = name

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, Any]:
        cloud = checked_cloud(self.points[index], self.least, f"Cloud {index} of {self.name}")
        return {"x": torch.from_numpy(cloud.copy()), "label": int(self.label[index])}


def held_out(labels: NDArray[Any], split: str, val_fraction: float) -> NDArray[np.int64]:
    """Positions of ``"train"`` or ``"val"`` in training data: a keyed share of every class is held out.

    The same clouds in every run, however the run is seeded. A class of one stays in train.

    Raises:
        ValueError: If ``val_fraction`` does not lie in (0, 1), or nothing is left to hold out.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must lie between 0 and 1, not {val_fraction}.")
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = random.permutation(torch.tensor([random.key(0, "split", int(label))]), len(members))[
            0
        ].numpy()
        chosen[members[order[: min(max(1, round(val_fraction * len(members))), len(members) - 1)]]] = True
    if not chosen.any():
        raise ValueError(
            f"No class of the {len(labels)} training clouds has two, so none can be held out for validation."
        )
    return np.flatnonzero(chosen if split == "val" else ~chosen)


class PointCloudModule(DataModule):
    """Base of the point-cloud data modules; a subclass writes ``build``, whose ``x`` is (P, 3) float32.

    Args:
        points: Points that the encoder gets of each cloud.
        subsample: How they are chosen: ``"fps"`` as released, or ``"random"``, which costs next to nothing.
        scale: Range of the stretch of each axis in training; None for none.
        rotate: Upright axis that training turns about; None for no rotation.
        val_fraction: Share of the training split that is held out for validation, where files have none.
        batch_size: Clouds per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Clouds per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unusable clouds that may be skipped, per worker process.

    Raises:
        ValueError: If an argument lies outside its range.
    """

    def __init__(
        self,
        points: int = 1024,
        *,
        subsample: Subsample = "fps",
        scale: tuple[float, float] | None = (0.8, 1.2),
        rotate: Axis | None = "y",
        val_fraction: float = 0.1,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            batch_size, num_workers, eval_batch_size=eval_batch_size, seed=seed, max_corrupt=max_corrupt
        )
        if points < 1:
            raise ValueError(f"points must be at least 1, not {points}.")
        if subsample not in ("fps", "random"):
            raise ValueError(f"subsample must be 'fps' or 'random', not {subsample!r}.")
        if scale is not None and not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be (low, high) with 0 < low <= high, not {scale}.")
        if rotate not in (None, "x", "y", "z"):
            raise ValueError(f"rotate must be 'x', 'y', 'z' or None, not {rotate!r}.")
        self.points = points
        self.subsample: Subsample = subsample
        self.scale = scale
        self.rotate: Axis | None = rotate
        self.val_fraction = val_fraction

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """Clouds (B, P, 3) to normalised ones (B, ``points``, 3)."""

        def keys(purpose: str) -> Tensor | None:
            # One number per (epoch, cloud): no look at the epoch on the host.
            number = batch["epoch"] * 2**32 + batch["index"]
            return random.fold(random.key(self.seed, purpose), number) if train else None

        cloud = subsample(batch["x"], self.points, keys("subsample"), self.subsample)
        if train and self.scale is not None:
            cloud = stretch(cloud, _given(keys("stretch")), *self.scale)
        cloud = unit_sphere(center(cloud))
        if train and self.rotate is not None:
            cloud = rotate(cloud, _given(keys("rotate")), self.rotate)
        return batch | {"x": cloud}

    def raw_features(self, batch: Mapping[str, Any]) -> Tensor:
        """The baseline on raw input: coordinates in any order are no features, a shape descriptor is."""
        return shape_descriptor(batch["x"])

    def draw(
        self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]
    ) -> "Sequence[Panel]":
        """The cloud for the report, for systems that do not draw their patches themselves."""
        from conjoin.pointcloud.draw import draw_shape

        return draw_shape(sample["x"])


def _given(keys: Tensor | None) -> Tensor:
    assert keys is not None
    return keys

# SPDX-License-Identifier: Apache-2.0
"""The embedded shapes of conjoin-samples: electronic parts, split by part family."""

from types import ModuleType

import numpy as np

from conjoin.core.data import Split
from conjoin.pointcloud.data.module import CloudArrays, PointCloudModule
from conjoin.pointcloud.transforms.geometry import Axis, Subsample

__all__ = ("Shapes",)

_NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}


def _samples() -> ModuleType:
    try:
        from conjoin import samples
    except ImportError as error:
        raise ImportError(
            "The embedded shapes are in the distribution conjoin-samples: python -m pip install "
            "'conjoin[samples]'."
        ) from error
    return samples


class Shapes(PointCloudModule):
    """3-D models of electronic parts as 512 points each, 34 classes; no part family is in two splits.

    Args:
        points: Points that the encoder gets of each cloud, at most 512.
        subsample: How they are chosen: ``"random"`` or ``"fps"``.
        scale: Range of the stretch of each axis in training; None for none.
        rotate: Upright axis that training turns about; None for no rotation.
        batch_size: Clouds per batch and process.
        num_workers: Worker processes per loader; 0 is best for clouds that are in memory.
        eval_batch_size: Clouds per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.

    Raises:
        ValueError: If more points are asked for than there are.
    """

    def __init__(
        self,
        points: int = 256,
        *,
        subsample: Subsample = "random",
        scale: tuple[float, float] | None = (0.8, 1.2),
        rotate: Axis | None = "z",
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            points,
            subsample=subsample,
            scale=scale,
            rotate=rotate,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        embedded = _samples().shapes()
        stored = embedded.train.points.shape[1]
        if points > stored:
            raise ValueError(
                f"points must be at most the {stored} that are stored of each shape, not {points}."
            )
        self.class_names = embedded.class_names
        self.num_classes = len(embedded.class_names)

    def build(self, split: Split) -> CloudArrays:
        """The embedded split."""
        part = getattr(_samples().shapes(), _NAMES[split])
        return CloudArrays(np.asarray(part.points), part.labels, self.points, f"the embedded {split} shapes")

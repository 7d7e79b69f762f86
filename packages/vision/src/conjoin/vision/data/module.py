# SPDX-License-Identifier: Apache-2.0
"""What all picture data modules share: size, channels, crops and normalisation."""

import math
from collections.abc import Sequence
from typing import Any, TypedDict

from torch import Tensor
from torchvision.transforms.v2 import functional

from conjoin.core.data import DataModule
from conjoin.vision.transforms import EvalCrop, TrainCrop, normalize

__all__ = ("ImageModule", "ImageOptions")


class ImageOptions(TypedDict, total=False):
    """What data modules of photographs can be told by name, beside their own arguments.

    Args:
        scale: Share of the area that the random training crop keeps, (.3, 1) if not given; ``None`` trains on
            evaluation's view.
        flip: Probability of a horizontal flip in training; 0 if not given.
        color: Strength of the colour distortion in training; 0 if not given.
        blur: Probability of a blur in training; 0 if not given.
        resize: Evaluation's shorter side before the centre crop; ``image_size * 8 / 7`` if not given.
        patch_size: The encoder's patch, if size and pictures shall be checked against it before training.
        batch_size: Samples per batch and process; 64 if not given.
        num_workers: Worker processes per loader; 0 if not given.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unreadable pictures that may be skipped, per worker process; 100 if not given.
    """

    scale: tuple[float, float] | None
    flip: float
    color: float
    blur: float
    resize: int | None
    patch_size: int | None
    batch_size: int
    num_workers: int
    eval_batch_size: int | None
    seed: int | None
    max_corrupt: int


class ImageModule(DataModule):
    """Base of the picture data modules.

    A subclass writes ``build``, whose samples hold uint8 ``x`` (C, H, W). Workers crop; normalisation is done
    for the whole batch on its device.

    Args:
        image_size: Side of the square picture that the encoder sees.
        channels: 1 for gray, 3 for RGB.
        mean: Per channel, in [0, 1]; one number serves all channels.
        std: Per channel; one number serves all channels.
        scale: Share of the area that the random training crop keeps; ``None`` trains on evaluation's view.
        flip: Probability of a horizontal flip in training.
        color: Strength of the colour distortion in training.
        blur: Probability of a blur in training.
        resize: Evaluation's shorter side before the centre crop; see
            :class:`conjoin.vision.transforms.EvalCrop`.
        patch_size: The encoder's patch, if size and pictures shall be checked against it before training.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
        max_corrupt: Unreadable pictures that may be skipped, per worker process.

    Raises:
        ValueError: If an argument lies outside its range or ``image_size`` is not a multiple of
            ``patch_size``.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        scale: tuple[float, float] | None = (0.3, 1.0),
        flip: float = 0.0,
        color: float = 0.0,
        blur: float = 0.0,
        resize: int | None = None,
        patch_size: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            batch_size, num_workers, eval_batch_size=eval_batch_size, seed=seed, max_corrupt=max_corrupt
        )
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (gray) or 3 (RGB), not {channels}.")
        if color and channels == 1:
            raise ValueError("color distorts RGB pictures: set color to 0 or channels to 3.")
        if patch_size is not None and (patch_size < 1 or image_size % patch_size):
            low = max(1, image_size // max(patch_size, 1)) * patch_size
            raise ValueError(
                f"image_size {image_size} is not a multiple of patch_size {patch_size}: choose {low} or "
                f"{low + patch_size}."
            )
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (1, channels):
                raise ValueError(
                    f"{name} has {len(values)} numbers for {channels} channel(s): give one or {channels}."
                )
        if min(std) <= 0:
            raise ValueError(f"std must be positive, not {tuple(std)}.")
        self.image_size = image_size
        self.channels = channels
        self.mean = tuple(mean) * (channels // len(mean))
        self.std = tuple(std) * (channels // len(std))
        self.patch_size = patch_size
        crop = EvalCrop(image_size, resize)
        self.eval_transform = crop
        self.train_transform = (
            crop if scale is None else TrainCrop(image_size, scale, flip=flip, color=color, blur=blur)
        )
        # The least picture from which both crops come out without enlargement: the train crop's shorter side
        # is at
        # least sqrt(area share * 3/4) of the picture's.
        least = 0 if scale is None else math.ceil(image_size / math.sqrt(scale[0] * 0.75))
        self.short_side = max(crop.resize, least)

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """Normalise ``x`` on its device: uint8 (B, C, H, W) to float32."""
        return batch | {"x": normalize(self._fit(batch["x"]), self.mean, self.std)}

    def _fit(self, x: Tensor) -> Tensor:
        """A batch to the module's channels and size, if it is not of them yet."""
        if x.shape[-3] == 1 and self.channels == 3:
            x = x.expand(*x.shape[:-3], 3, *x.shape[-2:])
        elif x.shape[-3] == 3 and self.channels == 1:
            x = functional.rgb_to_grayscale(x)
        if x.shape[-2:] != (self.image_size, self.image_size):
            x = functional.resize(x, [self.image_size, self.image_size], antialias=True)
        return x

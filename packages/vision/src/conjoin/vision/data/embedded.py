# SPDX-License-Identifier: Apache-2.0
"""The embedded sets of conjoin-samples: real pictures without a network."""

from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from conjoin.core import random
from conjoin.core.data import Split
from conjoin.vision.data.arrays import ArrayDataset, subset
from conjoin.vision.data.module import ImageModule
from conjoin.vision.data.scatter import scatter

__all__ = ("Emoji", "Fashion", "ScatteredFashion")

_NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}


def _samples() -> ModuleType:
    try:
        from conjoin import samples
    except ImportError as error:
        raise ImportError(
            "The embedded pictures are in the distribution conjoin-samples: python -m pip install "
            "'conjoin[samples]'."
        ) from error
    return samples


class Fashion(ImageModule):
    """10,000 / 2,000 / 2,000 pictures of Fashion-MNIST, centred: gray, 28 x 28, 10 balanced classes.

    Args:
        image_size: Side of the picture that the encoder sees.
        channels: 1, or 3 to repeat the gray values.
        scale: Share of the area that the random training crop keeps; ``None`` trains on whole pictures.
        flip: Probability of a horizontal flip in training.
        patch_size: The encoder's patch, to check the size against.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader; 0 is best for pictures that are in memory.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
    """

    def __init__(
        self,
        image_size: int = 28,
        channels: int = 1,
        *,
        scale: tuple[float, float] | None = None,
        flip: float = 0.0,
        patch_size: int | None = None,
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
        self.class_names = _samples().fashion().class_names
        self.num_classes = len(self.class_names)
        if scale is None and not flip:
            # Nothing to do for one picture: the whole batch is brought to size at once.
            self.train_transform = self.eval_transform = None

    def build(self, split: Split) -> ArrayDataset:
        """The embedded split."""
        part = getattr(_samples().fashion(), _NAMES[split])
        return subset(part.images[:, None], part.labels)


class ScatteredFashion(ImageModule):
    """The embedded Fashion-MNIST, each garment at a random place and scale on a cluttered canvas.

    Rendered for a whole batch on its device (see :mod:`conjoin.vision.data.scatter`). Training renders every
    picture anew in every epoch. Evaluation pictures, those of the training split included, are one fixed
    rendering that does not depend on the run's seed, so that all runs are measured on the same pictures.

    Args:
        image_size: Side of the canvas.
        channels: 1, or 3 to repeat the gray values.
        patch_size: The encoder's patch, to check the size against.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader; 0 is best for pictures that are in memory.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and rendering in training; the run's seed if not given.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 1,
        *,
        patch_size: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size,
            channels,
            (0.115,),
            (0.22,),
            scale=None,
            resize=image_size,
            patch_size=patch_size,
            batch_size=batch_size,
            num_workers=num_workers,
            eval_batch_size=eval_batch_size,
            seed=seed,
        )
        embedded = _samples().fashion()
        self.class_names = embedded.class_names
        self.num_classes = len(embedded.class_names)
        self.train_transform = self.eval_transform = None
        # Canvases are numbered over all splits, so that no two splits share a background.
        self._first = {
            "train": 0,
            "val": len(embedded.train),
            "test": len(embedded.train) + len(embedded.validation),
        }
        self._canvases = self._first["test"] + len(embedded.test)
        # Clutter is cut from training pictures, whatever the split.
        self._pool = torch.from_numpy(np.array(embedded.train.images))

    def build(self, split: Split) -> ArrayDataset:
        """The embedded split, each picture with the number of its canvas."""
        part = getattr(_samples().fashion(), _NAMES[split])
        plain = subset(part.images[:, None], part.labels)
        return ArrayDataset(plain.x, plain.label, canvas=self._first[split] + torch.arange(len(plain)))

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        """Render and normalise on the batch's device: uint8 (B, 1, 28, 28) to float32 (B, C, S, S)."""
        batch = dict(batch)
        return super().batch_transform(batch | {"x": self._render(batch, batch.pop("canvas"), train)}, train)

    def _render(self, batch: dict[str, Any], canvas: Tensor, train: bool) -> Tensor:
        garments = batch["x"][:, 0]
        if self._pool.device != garments.device:
            self._pool = self._pool.to(garments.device)
        if train:
            # Epoch 0 of training is rendering 1: rendering 0 belongs to evaluation.
            # One number per (rendering, canvas) keeps this free of a look at the epoch on the host.
            number = (batch["epoch"] + 1) * self._canvases + canvas
            keys = random.fold(random.key(self.seed, "scatter"), number)
        else:
            keys = random.fold(random.key(0, "scatter"), canvas)
        return scatter(garments, keys, self._pool, self.image_size)[:, None]


class Emoji(ImageModule):
    """Emoji of 64 x 64 in colour, drawn by two vendors, split by emoji.

    Labels are the nine Unicode categories. Samples also have ``sublabel``, ``caption``, ``pair`` (equal for
    the two drawings of one emoji) and ``vendor``.

    Args:
        image_size: Side of the picture that the encoder sees.
        channels: 3, or 1 for gray.
        vendor: Whose drawings.
        scale: Share of the area that the random training crop keeps; ``None`` trains on whole pictures.
        flip: Probability of a horizontal flip in training.
        color: Strength of the colour distortion in training.
        blur: Probability of a blur in training.
        patch_size: The encoder's patch, to check the size against.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader; 0 is best for pictures that are in memory.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and augmentation; the run's seed if not given.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        vendor: Literal["both", "google", "twitter"] = "both",
        *,
        scale: tuple[float, float] | None = (0.3, 1.0),
        flip: float = 0.0,
        color: float = 0.0,
        blur: float = 0.0,
        patch_size: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size,
            channels,
            (0.807, 0.751, 0.698) if channels == 3 else (0.756,),
            (0.293, 0.290, 0.343) if channels == 3 else (0.3,),
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
        embedded = _samples().emoji()
        if vendor != "both" and vendor not in embedded.vendors:
            raise ValueError(f"vendor must be 'both' or one of {embedded.vendors}, not {vendor!r}.")
        self.vendors = [n for n, name in enumerate(embedded.vendors) if vendor in ("both", name)]
        self.class_names = embedded.class_names
        self.num_classes = len(embedded.class_names)

    def build(self, split: Split) -> ArrayDataset:
        """The embedded split: all drawings of the first vendor, then of the second."""
        part = getattr(_samples().emoji(), _NAMES[split])
        times = len(self.vendors)
        drawings = np.concatenate([part.images[:, vendor] for vendor in self.vendors])
        return ArrayDataset(
            torch.from_numpy(drawings).permute(0, 3, 1, 2),
            torch.from_numpy(np.tile(part.labels, times)),
            sublabel=torch.from_numpy(np.tile(part.sublabels, times)),
            pair=torch.arange(len(part)).repeat(times),
            vendor=torch.tensor(self.vendors).repeat_interleave(len(part)),
            caption=list(part.captions) * times,
        )

# SPDX-License-Identifier: Apache-2.0
"""The embedded pictures as typed values, and every embedded set by name.

Each modality has a module of its own (pictures are here); a new set is a function there, an entry of the
manifest and a line of ``_LOADERS``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from conjoin.samples import store
from conjoin.samples.clouds import ShapeSet, shapes
from conjoin.samples.signals import ECGSet, EEGSet, ecg, eeg
from conjoin.samples.sounds import SoundSet, sounds
from conjoin.samples.tables import TABLES, TableSet, table

__all__ = ("EmbeddedSet", "EmojiSet", "EmojiSplit", "FashionSet", "ImageSplit", "emoji", "fashion", "load")

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageSplit:
    """Pictures with labels.

    Attributes:
        images: uint8 (N, H, W).
        labels: int64 (N,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class FashionSet:
    """Fashion-MNIST, a fixed class-balanced part: 10,000 / 2,000 / 2,000 gray pictures of 28 x 28."""

    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class EmojiSplit:
    """Emoji, each drawn by two vendors: a natural pair of views.

    Attributes:
        images: uint8 (N, 2, H, W, 3) on white; the second axis is the vendor.
        labels: Category, int64 (N,).
        sublabels: Subcategory, int64 (N,).
        captions: The Unicode name of each, in lower case.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sublabels: NDArray[np.int64]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class EmojiSet:
    """Colour emoji of 64 x 64 by Google (Noto) and Twitter (Twemoji), split by emoji."""

    train: EmojiSplit
    validation: EmojiSplit
    test: EmojiSplit
    class_names: tuple[str, ...]
    subclass_names: tuple[str, ...]
    vendors: tuple[str, ...]


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    # The arrays are shared by all callers in the process.
    array.setflags(write=False)
    return array


@cache
def fashion() -> FashionSet:
    """Fashion-MNIST's embedded part; read once per process, the arrays are read-only."""
    raw = store.arrays("fashion")
    splits = {
        split: ImageSplit(_frozen(raw[f"{split}_images"]), _frozen(raw[f"{split}_labels"].astype(np.int64)))
        for split in _SPLITS
    }
    return FashionSet(**splits, class_names=tuple(raw["class_names"].tolist()))


@cache
def emoji() -> EmojiSet:
    """The embedded emoji; read once per process, the arrays are read-only."""
    raw = store.arrays("emoji")
    vendors = tuple(raw["vendors"].tolist())
    splits = {}
    for number, split in enumerate(_SPLITS):
        chosen = np.flatnonzero(raw["split"] == number)
        splits[split] = EmojiSplit(
            images=_frozen(np.stack([raw[f"images_{vendor}"][chosen] for vendor in vendors], axis=1)),
            labels=_frozen(raw["labels"][chosen].astype(np.int64)),
            sublabels=_frozen(raw["sublabels"][chosen].astype(np.int64)),
            captions=tuple(raw["captions"][chosen].tolist()),
        )
    return EmojiSet(
        **splits,
        class_names=tuple(raw["class_names"].tolist()),
        subclass_names=tuple(raw["subclass_names"].tolist()),
        vendors=vendors,
    )


EmbeddedSet: TypeAlias = FashionSet | EmojiSet | ECGSet | EEGSet | ShapeSet | SoundSet | TableSet

# One line per name in the manifest; a test compares the two.
_LOADERS: dict[str, Callable[[], EmbeddedSet]] = {
    "ecg": ecg,
    "eeg": eeg,
    "emoji": emoji,
    "fashion": fashion,
    "shapes": shapes,
    **{name: partial(sounds, name) for name in ("words", "notes")},
    **{name: partial(table, name) for name in TABLES},
}


def load(name: str) -> EmbeddedSet:
    """An embedded set by name, as its own function gives it without arguments.

    Raises:
        ValueError: If there is no such set; the message has the nearest name.
        SampleError: If its file is missing or damaged.
    """
    store.entry(name)
    return _LOADERS[name]()

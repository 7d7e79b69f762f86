# SPDX-License-Identifier: Apache-2.0
"""Small data sets inside a wheel: recipes, probes and tests run without a network.

Each set is one file beside a manifest that says where it comes from, under which licence, how it was cut and
what its SHA-256 is. Scripts under ``tools/samples`` in the source tree rebuild the files from their
registries.
"""

from conjoin.samples.clouds import ShapeSet, ShapeSplit, shapes
from conjoin.samples.sets import (
    EmbeddedSet,
    EmojiSet,
    EmojiSplit,
    FashionSet,
    ImageSplit,
    emoji,
    fashion,
    load,
)
from conjoin.samples.signals import ECGSet, ECGSplit, EEGSet, EEGSplit, ecg, eeg
from conjoin.samples.sounds import SoundSet, SoundSplit, sounds
from conjoin.samples.store import SampleError, licence, manifest, names
from conjoin.samples.tables import TableSet, table

__all__ = (
    "ECGSet",
    "ECGSplit",
    "EEGSet",
    "EEGSplit",
    "EmbeddedSet",
    "EmojiSet",
    "EmojiSplit",
    "FashionSet",
    "ImageSplit",
    "SampleError",
    "ShapeSet",
    "ShapeSplit",
    "SoundSet",
    "SoundSplit",
    "TableSet",
    "ecg",
    "eeg",
    "emoji",
    "fashion",
    "licence",
    "load",
    "manifest",
    "names",
    "shapes",
    "sounds",
    "table",
)

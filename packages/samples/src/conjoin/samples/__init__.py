# SPDX-License-Identifier: Apache-2.0
"""Small real data sets inside a wheel: recipes, probes and tests run without a network.

Each set is one file beside a manifest that says where it comes from, under which licence, how it was cut and
what its SHA-256 is. Scripts under ``tools/samples`` in the source tree rebuild the files from their
registries.
"""

from conjoin.samples.sets import EmojiSet, EmojiSplit, FashionSet, ImageSplit, emoji, fashion, load
from conjoin.samples.store import SampleError, licence, manifest, names

__all__ = (
    "EmojiSet",
    "EmojiSplit",
    "FashionSet",
    "ImageSplit",
    "SampleError",
    "emoji",
    "fashion",
    "licence",
    "load",
    "manifest",
    "names",
)

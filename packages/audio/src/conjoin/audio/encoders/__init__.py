# SPDX-License-Identifier: Apache-2.0
"""Spectrogram encoders: ``encoder(x, keep=None) -> (B, N or K, D)`` with ``embed_dim`` and ``grid``."""

from conjoin.audio.encoders.regularized import RegularizedMode, regularized
from conjoin.audio.encoders.spectrogram_vit import VARIANTS, SpectrogramPatches, SpectrogramViT, Variant

__all__ = (
    "VARIANTS",
    "RegularizedMode",
    "SpectrogramPatches",
    "SpectrogramViT",
    "Variant",
    "regularized",
)

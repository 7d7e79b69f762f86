# SPDX-License-Identifier: Apache-2.0
"""Signal encoders: ``encoder(x, keep=None) -> (B, N or K, D)`` with ``embed_dim`` and ``grid``."""

from conjoin.biosignal.encoders.signal_vit import VARIANTS, SignalViT, Variant, interleaved_positions

__all__ = ("VARIANTS", "SignalViT", "Variant", "interleaved_positions")

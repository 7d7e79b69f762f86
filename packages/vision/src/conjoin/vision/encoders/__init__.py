# SPDX-License-Identifier: Apache-2.0
"""Image encoders: ``encoder(x, keep=None) -> (B, N or K, D)`` with ``embed_dim`` and ``grid``."""

from conjoin.vision.encoders.cifar_resnet import CIFARResNet
from conjoin.vision.encoders.sparse_cnn import SparseCNN
from conjoin.vision.encoders.timm_encoder import TimmEncoder
from conjoin.vision.encoders.vit import (
    VARIANTS,
    ViT,
    build_vit,
    vit_base,
    vit_giant,
    vit_huge,
    vit_large,
    vit_small,
    vit_tiny,
)

__all__ = (
    "VARIANTS",
    "CIFARResNet",
    "SparseCNN",
    "TimmEncoder",
    "ViT",
    "build_vit",
    "vit_base",
    "vit_giant",
    "vit_huge",
    "vit_large",
    "vit_small",
    "vit_tiny",
)

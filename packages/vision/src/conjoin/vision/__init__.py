# SPDX-License-Identifier: Apache-2.0
"""Images for conjoin: encoders, data modules, systems and converters."""

from conjoin.vision.convert.commands import CONVERTERS
from conjoin.vision.data import (
    CIFAR10,
    CIFAR100,
    Emoji,
    Fashion,
    FashionMNIST,
    HDF5Images,
    ImageFolder,
    ImageNet,
    MultiViewImages,
    ScatteredFashion,
)
from conjoin.vision.encoders import (
    CIFARResNet,
    SparseCNN,
    TimmEncoder,
    ViT,
    vit_base,
    vit_giant,
    vit_huge,
    vit_large,
    vit_small,
    vit_tiny,
)
from conjoin.vision.masking import MixedMask
from conjoin.vision.methods import CNNJEPA, IJEPA

__all__ = (
    "CIFAR10",
    "CIFAR100",
    "CNNJEPA",
    "CONVERTERS",
    "IJEPA",
    "CIFARResNet",
    "Emoji",
    "Fashion",
    "FashionMNIST",
    "HDF5Images",
    "ImageFolder",
    "ImageNet",
    "MixedMask",
    "MultiViewImages",
    "ScatteredFashion",
    "SparseCNN",
    "TimmEncoder",
    "ViT",
    "vit_base",
    "vit_giant",
    "vit_huge",
    "vit_large",
    "vit_small",
    "vit_tiny",
)

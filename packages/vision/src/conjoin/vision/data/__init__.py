# SPDX-License-Identifier: Apache-2.0
"""Data modules for pictures: folders, packed files, ImageNet, CIFAR, Fashion-MNIST and the embedded sets."""

from conjoin.vision.data.cifar import CIFAR10, CIFAR100
from conjoin.vision.data.embedded import Emoji, Fashion, ScatteredFashion
from conjoin.vision.data.fashion_mnist import FashionMNIST
from conjoin.vision.data.hdf5_images import HDF5Images
from conjoin.vision.data.image_folder import ImageFolder
from conjoin.vision.data.imagenet import ImageNet
from conjoin.vision.data.module import ImageModule
from conjoin.vision.data.multi_view import MultiViewImages
from conjoin.vision.data.scatter import scatter

__all__ = (
    "CIFAR10",
    "CIFAR100",
    "Emoji",
    "Fashion",
    "FashionMNIST",
    "HDF5Images",
    "ImageFolder",
    "ImageModule",
    "ImageNet",
    "MultiViewImages",
    "ScatteredFashion",
    "scatter",
)

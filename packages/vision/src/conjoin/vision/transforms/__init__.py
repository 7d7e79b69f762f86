# SPDX-License-Identifier: Apache-2.0
"""What happens to one picture in training and in evaluation, and normalisation of a whole batch."""

from conjoin.vision.transforms.augment import Augment
from conjoin.vision.transforms.crops import EvalCrop, TrainCrop
from conjoin.vision.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, denormalize, normalize
from conjoin.vision.transforms.policies import (
    BYOLViews,
    DINOViews,
    ImageViews,
    LeJEPAViews,
    MoCoViews,
    SimCLRViews,
    SwAVViews,
)

__all__ = (
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Augment",
    "BYOLViews",
    "DINOViews",
    "EvalCrop",
    "ImageViews",
    "LeJEPAViews",
    "MoCoViews",
    "SimCLRViews",
    "SwAVViews",
    "TrainCrop",
    "denormalize",
    "normalize",
)

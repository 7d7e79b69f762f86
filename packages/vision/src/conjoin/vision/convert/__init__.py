# SPDX-License-Identifier: Apache-2.0
"""Weights to and from other projects: the official I-JEPA and CNN-JEPA releases and timm."""

from conjoin.vision.convert.cnn_jepa import from_official_cnn_jepa, to_official_cnn_jepa
from conjoin.vision.convert.commands import CONVERTERS
from conjoin.vision.convert.official import from_official, to_official
from conjoin.vision.convert.timm import from_timm, timm_arguments, to_timm

__all__ = (
    "CONVERTERS",
    "from_official",
    "from_official_cnn_jepa",
    "from_timm",
    "timm_arguments",
    "to_official",
    "to_official_cnn_jepa",
    "to_timm",
)

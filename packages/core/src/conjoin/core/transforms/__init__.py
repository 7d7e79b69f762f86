# SPDX-License-Identifier: Apache-2.0
"""Views of any modality, made for a whole batch on its device from one key per sample.

A transform is a frozen dataclass of plain numbers, called as ``transform(x, keys)`` with ``x`` (B, C, ...)
and ``keys`` (B,): signals, pictures and volumes alike, without a generator. :class:`Views` lays them out.
"""

from conjoin.core.transforms.amplitude import Blur, ChannelDropout, Noise, Scale, SpanDropout
from conjoin.core.transforms.base import Transform, ViewGroup, Views
from conjoin.core.transforms.crop import Crop, Flip, Window
from conjoin.core.transforms.resample import resample

__all__ = (
    "Blur",
    "ChannelDropout",
    "Crop",
    "Flip",
    "Noise",
    "Scale",
    "SpanDropout",
    "Transform",
    "ViewGroup",
    "Views",
    "Window",
    "resample",
)

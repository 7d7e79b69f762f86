# SPDX-License-Identifier: Apache-2.0
"""What happens to a recording once (filters) and at each access (crops)."""

from conjoin.biosignal.transforms.crops import CenterCrop, EvalWindows, RandomCrop, windows
from conjoin.biosignal.transforms.filters import add_wander, highpass, interpolate_nans, resample, standardise

__all__ = (
    "CenterCrop",
    "EvalWindows",
    "RandomCrop",
    "add_wander",
    "highpass",
    "interpolate_nans",
    "resample",
    "standardise",
    "windows",
)

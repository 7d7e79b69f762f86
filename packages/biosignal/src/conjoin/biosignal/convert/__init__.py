# SPDX-License-Identifier: Apache-2.0
"""Weights to and from the official ECG-JEPA release."""

from conjoin.biosignal.convert.commands import CONVERTERS
from conjoin.biosignal.convert.official import from_official_ecg, to_official_ecg

__all__ = ("CONVERTERS", "from_official_ecg", "to_official_ecg")

# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with biosignal systems."""

from conjoin.biosignal.convert.official import from_official_ecg, to_official_ecg
from conjoin.biosignal.methods.ecg_jepa import ECGJEPA
from conjoin.core.converters import official_pair

__all__ = ("CONVERTERS",)

CONVERTERS = official_pair(ECGJEPA, from_official_ecg, to_official_ecg)

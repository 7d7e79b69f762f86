# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with tabular systems."""

from conjoin.core.converters import official_pair
from conjoin.tabular.convert.official import from_official, to_official
from conjoin.tabular.methods.tjepa import TJEPA

__all__ = ("CONVERTERS",)

CONVERTERS = official_pair(TJEPA, from_official, to_official)

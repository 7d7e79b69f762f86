# SPDX-License-Identifier: Apache-2.0
"""Weights to and from the released code of T-JEPA."""

from conjoin.tabular.convert.commands import CONVERTERS
from conjoin.tabular.convert.official import from_official, official_states, to_official

__all__ = ("CONVERTERS", "from_official", "official_states", "to_official")

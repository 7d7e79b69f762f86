# SPDX-License-Identifier: Apache-2.0
"""Weights to and from the official Point-JEPA release."""

from conjoin.pointcloud.convert.commands import CONVERTERS
from conjoin.pointcloud.convert.official import from_official, to_official

__all__ = ("CONVERTERS", "from_official", "to_official")

# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with point-cloud systems."""

from conjoin.core.converters import official_pair
from conjoin.pointcloud.convert.official import from_official, to_official
from conjoin.pointcloud.methods.point_jepa import PointJEPA

__all__ = ("CONVERTERS",)

CONVERTERS = official_pair(PointJEPA, from_official, to_official)

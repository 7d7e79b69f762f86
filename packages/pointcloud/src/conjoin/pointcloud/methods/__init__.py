# SPDX-License-Identifier: Apache-2.0
"""Systems for point clouds, one file each, named as their papers."""

from conjoin.pointcloud.methods.point_jepa import PointJEPA, PointMasks

__all__ = ("PointJEPA", "PointMasks")

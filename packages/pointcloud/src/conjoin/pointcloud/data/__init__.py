# SPDX-License-Identifier: Apache-2.0
"""Data modules of point clouds."""

from conjoin.pointcloud.data.hdf5 import ModelNet40, ScanObjectNN
from conjoin.pointcloud.data.module import PointCloudModule
from conjoin.pointcloud.data.shapenet import ShapeNet55
from conjoin.pointcloud.data.shapes import Shapes

__all__ = ("ModelNet40", "PointCloudModule", "ScanObjectNN", "ShapeNet55", "Shapes")

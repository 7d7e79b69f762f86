# SPDX-License-Identifier: Apache-2.0
"""Point clouds for conjoin: operators, encoders, data modules, systems and converters."""

from conjoin.pointcloud.convert.commands import CONVERTERS
from conjoin.pointcloud.data import ModelNet40, ScanObjectNN, ShapeNet55, Shapes
from conjoin.pointcloud.encoders import PointPredictor, PointTransformer
from conjoin.pointcloud.methods import PointJEPA

__all__ = (
    "CONVERTERS",
    "ModelNet40",
    "PointJEPA",
    "PointPredictor",
    "PointTransformer",
    "ScanObjectNN",
    "ShapeNet55",
    "Shapes",
)

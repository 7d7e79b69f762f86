# SPDX-License-Identifier: Apache-2.0
"""Encoders and predictors of point clouds."""

from conjoin.pointcloud.encoders.point_transformer import CenterPositions, PointBlocks, PointTransformer
from conjoin.pointcloud.encoders.predictor import PointPredictor
from conjoin.pointcloud.encoders.regularised import DropPath, RegularisedBlock
from conjoin.pointcloud.encoders.tokenizer import SEQUENCES, Patches, PatchPointNet, cut_patches

__all__ = (
    "SEQUENCES",
    "CenterPositions",
    "DropPath",
    "PatchPointNet",
    "Patches",
    "PointBlocks",
    "PointPredictor",
    "PointTransformer",
    "RegularisedBlock",
    "cut_patches",
)

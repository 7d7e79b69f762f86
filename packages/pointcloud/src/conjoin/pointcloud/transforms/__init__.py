# SPDX-License-Identifier: Apache-2.0
"""Transforms of batches of clouds: vectorised, functional, drawn from keys."""

from conjoin.pointcloud.transforms.descriptor import shape_descriptor
from conjoin.pointcloud.transforms.geometry import center, rotate, stretch, subsample, unit_sphere

__all__ = ("center", "rotate", "shape_descriptor", "stretch", "subsample", "unit_sphere")

# SPDX-License-Identifier: Apache-2.0
"""Point-cloud operators in plain PyTorch: batched, exact, without compiled extensions."""

from conjoin.pointcloud.ops.convolution import SparseConv3d, SubmanifoldConv3d, sparse_conv
from conjoin.pointcloud.ops.neighbours import Neighbours, ball_query, distances, gather_points, group, knn
from conjoin.pointcloud.ops.ordering import Start, morton_code, morton_order, nearest_order
from conjoin.pointcloud.ops.sampling import farthest_point_sampling
from conjoin.pointcloud.ops.sparse import Rulebook, SparseVoxels, strided_rules, submanifold_rules

__all__ = (
    "Neighbours",
    "Rulebook",
    "SparseConv3d",
    "SparseVoxels",
    "Start",
    "SubmanifoldConv3d",
    "ball_query",
    "distances",
    "farthest_point_sampling",
    "gather_points",
    "group",
    "knn",
    "morton_code",
    "morton_order",
    "nearest_order",
    "sparse_conv",
    "strided_rules",
    "submanifold_rules",
)

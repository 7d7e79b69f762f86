# SPDX-License-Identifier: Apache-2.0
"""Subsampling, stretching, centring, scaling and rotating clouds (B, N, 3); the inputs are never changed.

The order and the ranges of Point-JEPA's training are the data modules'. Each cloud has its own draw, where
the release draws one scale and one rotation for a whole batch.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from conjoin.core import random
from conjoin.pointcloud.ops import farthest_point_sampling, gather_points

__all__ = ("Axis", "Subsample", "center", "rotate", "stretch", "subsample", "unit_sphere")

Subsample = Literal["random", "fps"]
Axis = Literal["x", "y", "z"]


def subsample(cloud: Tensor, count: int, keys: Tensor | None, how: Subsample = "random") -> Tensor:
    """Keep ``count`` points of each cloud.

    Args:
        cloud: (B, N, 3).
        count: Points to keep, at most N.
        keys: (B,) int64; None takes fixed draws, the same for all clouds.
        how: ``"random"``: any points; ``"fps"``: well-spread ones, from a random first point.

    Raises:
        ValueError: If ``count`` is not between 1 and N, or ``how`` is unknown.
    """
    batch, size, _ = cloud.shape
    if not 1 <= count <= size:
        raise ValueError(f"{count} points cannot be taken from clouds of {size}.")
    keys = torch.full((batch,), random.key(0, "subsample")) if keys is None else keys
    keys = keys.to(cloud.device)
    match how:
        case "fps":
            index = farthest_point_sampling(cloud, count, random.randint(keys, 1, size)[:, 0])
        case "random":
            if count == size:
                return cloud
            index = random.permutation(keys, size)[:, :count]
        case _:
            raise ValueError(f"how must be one of {get_args(Subsample)}, not {how!r}.")
    return gather_points(cloud, index)


def stretch(cloud: Tensor, keys: Tensor, low: float, high: float) -> Tensor:
    """Multiply each axis of each cloud by its own factor, uniform in [low, high)."""
    factors = low + (high - low) * random.uniform(keys.to(cloud.device), 3)
    return cloud * factors.to(cloud.dtype).unsqueeze(1)


def center(cloud: Tensor) -> Tensor:
    """Move each cloud's mean to the origin."""
    return cloud - cloud.mean(dim=1, keepdim=True)


def unit_sphere(cloud: Tensor) -> Tensor:
    """Divide each cloud by its largest distance from the origin; a cloud that is one point stays."""
    radius = torch.linalg.vector_norm(cloud, dim=-1).amax(1).view(-1, 1, 1)
    return cloud / torch.where(radius > 0, radius, torch.ones_like(radius))


def rotate(cloud: Tensor, keys: Tensor, axis: Axis = "y") -> Tensor:
    """Turn each cloud about an axis by its own angle, uniform in [-pi, pi).

    Raises:
        ValueError: If ``axis`` is unknown.
    """
    if axis not in get_args(Axis):
        raise ValueError(f"axis must be one of {get_args(Axis)}, not {axis!r}.")
    angle = (random.uniform(keys.to(cloud.device), 1) - 0.5) * (2 * math.pi)
    cos, sin = (part.to(cloud.dtype) for part in (angle.cos(), angle.sin()))
    about = get_args(Axis).index(axis)
    first, second = (about + 1) % 3, (about + 2) % 3
    turned = list(cloud.unbind(-1))
    turned[first] = cos * cloud[..., first] - sin * cloud[..., second]
    turned[second] = sin * cloud[..., first] + cos * cloud[..., second]
    return torch.stack(turned, dim=-1)

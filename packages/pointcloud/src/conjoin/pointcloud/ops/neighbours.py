# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbours, balls and groups in batched clouds.

Distances are sums of squared differences, never ``|a|^2 - 2ab + |b|^2``, which loses the digits of near
neighbours: the distance of a point to itself is exactly 0. Indices carry no gradient, gathered points do.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ("Neighbours", "ball_query", "distances", "gather_points", "group", "knn")

_CELLS = 1 << 24  # distances held at a time: 64 MiB of float32


class Neighbours(NamedTuple):
    """Neighbours of query points, nearest first.

    Attributes:
        index: (B, Q, k) int64, positions in the cloud.
        distance: (B, Q, k) Euclidean, in the cloud's unit.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of neighbours
    distance: Tensor


@torch.no_grad()
def distances(query: Tensor, points: Tensor) -> Tensor:
    """Euclidean distances (B, Q, N) in float32 or wider, outside any autocast."""
    with torch.autocast(points.device.type, enabled=False):
        wide = torch.promote_types(points.dtype, torch.float32)
        return torch.cdist(query.to(wide), points.to(wide), compute_mode="donot_use_mm_for_euclid_dist")


@torch.no_grad()
def knn(query: Tensor, points: Tensor, k: int) -> Neighbours:
    """The k nearest points of each query point.

    Args:
        query: (B, Q, C).
        points: (B, N, C).
        k: Neighbours per query, at most N.

    Returns:
        Nearest first; the order among equal distances is the device's.

    Raises:
        ValueError: If shapes do not fit or ``k`` is not between 1 and N.
    """
    if query.ndim != 3 or points.ndim != 3 or query.shape[::2] != points.shape[::2]:
        raise ValueError(
            f"query and points must be (B, Q, C) and (B, N, C), not {tuple(query.shape)} and "
            f"{tuple(points.shape)}."
        )
    size = points.shape[1]
    if not 1 <= k <= size:
        raise ValueError(f"k must be between 1 and the {size} points of a cloud, not {k}.")
    rows = max(1, _CELLS // size)
    clouds = max(1, rows // max(query.shape[1], 1))
    shape = (*query.shape[:2], k)
    index = torch.empty(shape, dtype=torch.int64, device=points.device)
    distance = torch.empty(
        shape, dtype=torch.promote_types(points.dtype, torch.float32), device=points.device
    )
    for cloud in range(0, len(query), clouds):
        for row in range(0, query.shape[1], rows):
            part = (slice(cloud, cloud + clouds), slice(row, row + rows))
            apart = distances(query[part], points[part[0]])
            torch.topk(apart, k, dim=-1, largest=False, out=(distance[part], index[part]))
    return Neighbours(index, distance)


def ball_query(query: Tensor, points: Tensor, radius: float, k: int) -> Neighbours:
    """The nearest points within a radius, at most k; places that stay free repeat the nearest point.

    Args:
        query: (B, Q, C).
        points: (B, N, C).
        radius: In the cloud's unit, inclusive.
        k: Places per query, at most N.

    Returns:
        Nearest first. A query with no point within the radius gets its nearest point k times.

    Raises:
        ValueError: As :func:`knn`, or if ``radius`` is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, not {radius}.")
    index, distance = knn(query, points, k)
    far = distance > radius
    return Neighbours(torch.where(far, index[..., :1], index), torch.where(far, distance[..., :1], distance))


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Rows of (B, N, C) by index (B, ...): (B, ..., C), with gradient."""
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).view(*index.shape, values.shape[-1])


def group(points: Tensor, centers: Tensor, k: int, radius: float | None = None) -> Tensor:
    """Patches of a cloud: the k nearest points of each centre, relative to it.

    Args:
        points: (B, N, 3).
        centers: (B, G, 3).
        k: Points per patch.
        radius: Take a ball instead (see :func:`ball_query`) and divide by its radius.

    Returns:
        (B, G, k, 3), nearest first.
    """
    found = knn(centers, points, k) if radius is None else ball_query(centers, points, radius, k)
    patches = gather_points(points, found.index) - centers.unsqueeze(2)
    return patches if radius is None else patches / radius

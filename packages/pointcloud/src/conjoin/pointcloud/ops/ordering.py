# SPDX-License-Identifier: Apache-2.0
"""Orders in which neighbours in the sequence are neighbours in space.

:func:`nearest_order` is the sequencer of Point-JEPA (arXiv 2404.16432, section 3.1): from a start, always on
to the nearest point not yet visited. :func:`morton_order` follows the z-order curve.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from conjoin.pointcloud.ops.neighbours import distances

__all__ = ("Start", "morton_code", "morton_order", "nearest_order")

Start = Literal["min", "first"]


@torch.no_grad()
def nearest_order(points: Tensor, start: Start = "min") -> Tensor:
    """Greedy nearest-neighbour order.

    Args:
        points: (B, G, 3) finite coordinates.
        start: ``"min"``: the point with the smallest sum of coordinates; ``"first"``: point 0.

    Returns:
        (B, G) int64, a permutation per cloud; ties go to the lowest index.

    Raises:
        ValueError: If ``start`` is unknown.
    """
    if start not in get_args(Start):
        raise ValueError(f"start must be one of {get_args(Start)}, not {start!r}.")
    batch, size, _ = points.shape
    apart = distances(points, points)
    current = (
        points.sum(-1).argmin(1, keepdim=True)
        if start == "min"
        else torch.zeros(batch, 1, dtype=torch.int64, device=points.device)
    )
    order = torch.empty(batch, size, dtype=torch.int64, device=points.device)
    visited = torch.zeros_like(apart[:, 0])
    for place in range(size):
        order[:, place : place + 1] = current
        visited.scatter_(1, current, torch.inf)
        if place + 1 < size:
            row = apart.gather(1, current.unsqueeze(-1).expand(-1, -1, size)).squeeze(1)
            current = row.add_(visited).argmin(1, keepdim=True)
    return order


def morton_code(cells: Tensor, depth: int = 16, batch: Tensor | None = None) -> Tensor:
    """Z-order keys: bit i of x goes to bit 3i + 2, of y to 3i + 1, of z to 3i.

    Args:
        cells: (..., 3) integers x, y, z in [0, 2 ** depth).
        depth: Bits per axis, at most 16.
        batch: (...) integers that go above the 3 * depth bits, so that samples stay apart when sorted.

    Returns:
        (...) int64.

    Raises:
        ValueError: If ``depth`` is not between 1 and 16.
    """
    if not 1 <= depth <= 16:
        raise ValueError(f"depth must be between 1 and 16 bits per axis, not {depth}.")
    # Two free bits after every bit, by halves: 16 -> 8 -> 4 -> 2 -> 1 bits that lie together.
    spread = cells.to(torch.int64)
    for shift, mask in ((16, 0x0000FF0000FF), (8, 0x00F00F00F00F), (4, 0x0C30C30C30C3), (2, 0x249249249249)):
        spread = (spread | (spread << shift)) & mask
    code = (spread[..., 0] << 2) | (spread[..., 1] << 1) | spread[..., 2]
    return code if batch is None else code | (batch.to(torch.int64) << (3 * depth))


@torch.no_grad()
def morton_order(points: Tensor, depth: int = 10) -> Tensor:
    """Order along the z-order curve of each cloud's bounding cube.

    Args:
        points: (B, G, 3) finite coordinates.
        depth: Bits per axis of the grid that the cube is cut into.

    Returns:
        (B, G) int64, a permutation per cloud; points of one cell keep their order.
    """
    low = points.amin(1, keepdim=True)
    side = (points - low).amax((1, 2), keepdim=True).clamp_min(torch.finfo(points.dtype).tiny)
    cells = ((points - low) / side * 2**depth).to(torch.int64).clamp_(0, 2**depth - 1)
    return morton_code(cells, depth).argsort(dim=-1, stable=True)

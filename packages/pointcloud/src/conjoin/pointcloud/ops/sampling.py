# SPDX-License-Identifier: Apache-2.0
"""Farthest-point sampling of batched clouds in plain PyTorch.

Each next point is the one farthest from all points chosen so far (Eldar et al., "The farthest point strategy
for progressive image sampling", 1997): K rounds over a running minimum of squared distances, O(B N K) time
and O(B N) memory. Nothing in the loop waits for the device.
"""

import torch
from torch import Tensor

__all__ = ("farthest_point_sampling",)


@torch.no_grad()
def farthest_point_sampling(points: Tensor, count: int, start: Tensor | None = None) -> Tensor:
    """Choose well-spread points.

    Args:
        points: (B, N, 3) finite coordinates; any number of channels works.
        count: Points K to choose per cloud.
        start: (B,) int64, the first point of each cloud; point 0 if not given.

    Returns:
        (B, K) int64 in the order of choice. Where a cloud has fewer distinct points than K, point 0 repeats
        at the end; ties go to the lowest index.

    Raises:
        ValueError: If shapes do not fit or ``count`` is not between 1 and N.
    """
    if points.ndim != 3:
        raise ValueError(f"points must be (B, N, 3), not {tuple(points.shape)}.")
    batch, size, channels = points.shape
    if not 1 <= count <= size:
        raise ValueError(f"count must be between 1 and the {size} points of a cloud, not {count}.")
    if start is not None and start.shape != (batch,):
        raise ValueError(f"start must be ({batch},), one index per cloud, not {tuple(start.shape)}.")
    # Channel first: each round passes over contiguous (B, N) planes. Half precision is too coarse.
    planes = points.to(torch.promote_types(points.dtype, torch.float32)).permute(2, 0, 1).contiguous()
    current = points.new_zeros(batch, 1, dtype=torch.int64) if start is None else start.view(-1, 1)
    chosen = torch.empty(batch, count, dtype=torch.int64, device=points.device)
    nearest = torch.full_like(planes[0], torch.inf)
    delta, distance = torch.empty_like(nearest), torch.empty_like(nearest)
    for place in range(count):
        chosen[:, place : place + 1] = current
        if place + 1 == count:
            break
        at = planes.gather(2, current.expand(channels, -1, -1))
        for channel in range(channels):
            torch.sub(planes[channel], at[channel], out=delta)
            if channel:
                distance.addcmul_(delta, delta)
            else:
                torch.mul(delta, delta, out=distance)
        torch.minimum(nearest, distance, out=nearest)
        current = nearest.argmax(dim=1, keepdim=True)
    return chosen

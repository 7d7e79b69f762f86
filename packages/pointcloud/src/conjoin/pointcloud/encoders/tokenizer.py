# SPDX-License-Identifier: Apache-2.0
"""From a cloud to tokens: patches around spread centres, each embedded by a small PointNet.

Point-JEPA (arXiv 2404.16432, section 3), as Point-BERT and point2vec before it: G centres by farthest-point
sampling, the k nearest points of each, relative to the centre; per patch a PointNet (Qi et al., arXiv
1612.00593)

    f_i = W_2 relu(bn(W_1 p_i)) ,  g = max_i f_i ,  token = max_i W_4 relu(bn(W_3 [g, f_i])) .
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn import Init, Linear
from conjoin.pointcloud.ops import (
    ball_query,
    farthest_point_sampling,
    gather_points,
    knn,
    morton_order,
    nearest_order,
)

__all__ = ("SEQUENCES", "PatchPointNet", "Patches", "cut_patches")

SEQUENCES = ("nearest_min", "nearest", "morton", "none")
"""How patches are put in order: greedy from the smallest x + y + z, greedy from the first centre, along the
z-order curve, or as sampled."""


class Patches(NamedTuple):
    """A batch of clouds in pieces, in the order of the sequence.

    Attributes:
        centers: (B, G, 3) float32.
        points: (B, G, k, 3) relative to their centres (over the radius, if there is one).
    """

    centers: Tensor
    points: Tensor


@torch.no_grad()
def cut_patches(
    cloud: Tensor,
    groups: int,
    group_size: int,
    *,
    radius: float | None = None,
    sequence: str = "nearest_min",
    start: Tensor | None = None,
) -> Patches:
    """Cut clouds into patches and put them in order; float32, outside any autocast.

    Args:
        cloud: (B, N, 3).
        groups: Patches G per cloud.
        group_size: Points k per patch.
        radius: Patches are balls of this radius, divided by it; nearest neighbours if not given.
        sequence: One of :data:`SEQUENCES`.
        start: (B,) int64, first point of the farthest-point sampling; point 0 if not given.

    Raises:
        ValueError: If a cloud has too few points, or an option is unknown.
    """
    if cloud.ndim != 3 or cloud.shape[-1] != 3:
        raise ValueError(f"A batch of clouds must be (B, N, 3), not {tuple(cloud.shape)}.")
    if cloud.shape[1] < max(groups, group_size):
        raise ValueError(
            f"A cloud of {cloud.shape[1]} points cannot be cut into {groups} patches of {group_size} "
            f"points: it "
            f"needs at least {max(groups, group_size)} points; use fewer or smaller patches, or more points."
        )
    cloud = cloud.to(torch.promote_types(cloud.dtype, torch.float32))
    centers = gather_points(cloud, farthest_point_sampling(cloud, groups, start))
    match sequence:
        case "nearest_min":
            centers = gather_points(centers, nearest_order(centers))
        case "nearest":
            centers = gather_points(centers, nearest_order(centers, "first"))
        case "morton":
            centers = gather_points(centers, morton_order(centers))
        case "none":
            pass
        case _:
            raise ValueError(f"sequence must be one of {SEQUENCES}, not {sequence!r}.")
    found = (
        knn(centers, cloud, group_size) if radius is None else ball_query(centers, cloud, radius, group_size)
    )
    points = gather_points(cloud, found.index) - centers.unsqueeze(2)
    return Patches(centers, points if radius is None else points / radius)


class PatchPointNet(nn.Module):
    """Patches (B, G, k, 3) to tokens (B, G, D).

    Args:
        dim: Width ``D`` of the tokens.
        widths: After the first, second and third layer: 128, 256 and 512 in the paper.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        dim: int = 384,
        widths: tuple[int, int, int] = (128, 256, 512),
        *,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"A patch network has three positive widths, not {tuple(widths)}.")
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        first, local, second = widths
        self.first_conv = nn.Sequential(
            Linear(3, first, bias=False, init=init, **place),
            nn.BatchNorm1d(first, **place),
            nn.ReLU(inplace=True),
            Linear(first, local, init=init, **place),
        )
        self.second_conv = nn.Sequential(
            Linear(2 * local, second, bias=False, init=init, **place),
            nn.BatchNorm1d(second, **place),
            nn.ReLU(inplace=True),
            Linear(second, dim, init=init, **place),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Embed; in training the batch norms see all points of all patches of the batch."""
        count = patches.shape[2]
        features = self.first_conv(patches.flatten(0, 2))
        # max, not amax, whose gradient is shared among equal points and costs three times as much.
        whole = torch.unflatten(features, 0, (-1, count)).max(1).values
        # [global, local] W = global W_g + local W_l: one product per patch, not per point.
        weight = cast(Linear, self.second_conv[0]).weight
        split = whole.shape[-1]
        mixed = torch.unflatten(F.linear(features, weight[:, split:]), 0, (-1, count))
        mixed += F.linear(whole, weight[:, :split]).unsqueeze(1)  # in place: the largest tensor of all
        out = self.second_conv[3](self.second_conv[2](self.second_conv[1](mixed.flatten(0, 1))))
        return torch.unflatten(out, 0, (*patches.shape[:2], count)).max(2).values

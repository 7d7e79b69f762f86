# SPDX-License-Identifier: Apache-2.0
"""Pictures of masked clouds for the report, in plain NumPy: an oblique view, near points over far ones."""

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conjoin.core.masking import Masks
from conjoin.core.report.gallery import Panel

__all__ = ("draw_cloud", "draw_masked_cloud", "draw_shape")

_SIDE = 256
_FAINT = (200, 200, 200)
# Target stretches, in hues that the common forms of colour blindness can tell apart (after Okabe and Ito).
_BLOCKS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))
# From the side and a little from above; rows: right, up, towards the viewer.
_VIEW = ((0.866, -0.5, 0.0), (-0.25, -0.433, 0.866), (0.433, 0.75, 0.5))


def draw_cloud(cloud: Tensor, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A cloud as a picture.

    Args:
        cloud: (N, 3); points that are not finite are left out.
        colours: (N, 3) or (N, 4) RGB(A).

    Returns:
        uint8 (256, 256, 4) on transparent ground.
    """
    points = cloud.detach().double().cpu().numpy() @ np.array(_VIEW).T
    seen = np.isfinite(points).all(1)
    points, colours = points[seen], colours[seen]
    canvas = np.zeros((_SIDE, _SIDE, 4), np.uint8)
    if not len(points):
        return canvas
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    dot = int(np.clip(round(64 / len(points) ** 0.5), 2, 4))  # few points are drawn large
    scale = (_SIDE - 4 * dot - 1) / max(float((high - low).max()), 1e-9)
    place = ((points[:, :2] - (low + high) / 2) * scale + _SIDE / 2).astype(int)
    for row in points[:, 2].argsort(kind="stable"):
        x, y = int(place[row, 0]), _SIDE - 1 - int(place[row, 1])
        canvas[max(y - dot, 0) : y + dot, max(x - dot, 0) : x + dot, :3] = colours[row, :3]
        canvas[max(y - dot, 0) : y + dot, max(x - dot, 0) : x + dot, 3] = 255
    return canvas


def draw_shape(cloud: Tensor) -> list[Panel]:
    """A cloud (N, 3) without patches, from blue at its far side to orange at its near one."""
    depth = (cloud.detach().double().cpu() @ torch.tensor(_VIEW[2], dtype=torch.float64)).nan_to_num().numpy()
    share = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
    far, near = np.array(_BLOCKS[0]), np.array(_BLOCKS[1])
    colours = (far + share[:, None] * (near - far)).round().astype(np.uint8)
    return [
        Panel(
            f"cloud of {len(cloud)} points, blue far, orange near",
            f"the {len(cloud)} points of the cloud, coloured by depth",
            draw_cloud(cloud, colours),
        )
    ]


def draw_masked_cloud(cloud: Tensor, centers: Tensor, masks: Masks | None) -> list[Panel]:
    """The patches of a cloud coloured along the sequence; the visible ones; those to predict.

    Args:
        cloud: (N, 3).
        centers: (G, 3) in the order of the sequence; a point belongs to the nearest.
        masks: Of this sample, with a batch axis of 1; None for the first picture alone.
    """
    owner = torch.cdist(cloud.double(), centers.double()).argmin(1).numpy()
    count = len(centers)
    hues = np.array([colorsys.hsv_to_rgb(0.8 * n / max(count - 1, 1), 0.75, 0.85) for n in range(count)])
    rainbow = (255 * hues).astype(np.uint8)
    panels = [
        Panel(
            "patches, coloured along the sequence",
            f"the cloud in {count} patches, coloured along the sequence",
            draw_cloud(cloud, rainbow[owner]),
        )
    ]
    if masks is None:
        return panels
    blocks: Sequence[Tensor] = list(masks.targets[0])
    visible = np.full((count, 3), _FAINT, np.uint8)
    shown = masks.context[0].numpy()
    visible[shown] = rainbow[shown]
    asked = np.full((count, 3), _FAINT, np.uint8)
    for number, block in enumerate(blocks):
        asked[block.numpy()] = _BLOCKS[number % len(_BLOCKS)]
    return [
        *panels,
        Panel(
            "context: what is seen, in colour",
            f"the {len(shown)} patches that the context encoder sees",
            draw_cloud(cloud, visible[owner]),
        ),
        Panel(
            "targets: one colour per stretch to predict",
            f"the {len(blocks)} stretches to predict, coloured",
            draw_cloud(cloud, asked[owner]),
        ),
    ]

# SPDX-License-Identifier: Apache-2.0
"""What is known of a shape without learning: the baseline on the raw input.

The coordinates of an unordered cloud are no features, whatever their order. Its covariance eigenvalues and
the histogram of its radii do not depend on the order nor on the pose.
"""

import torch
from torch import Tensor

__all__ = ("shape_descriptor",)

_BINS = 32


def shape_descriptor(cloud: Tensor) -> Tensor:
    """Covariance eigenvalues, their roots, extents along the axes, and the histogram of radii.

    Args:
        cloud: (B, N, 3) in the unit sphere.

    Returns:
        (B, 41) float32.
    """
    cloud = cloud.float()
    centered = cloud - cloud.mean(1, keepdim=True)
    covariance = centered.transpose(1, 2) @ centered / cloud.shape[1]
    eigenvalues = torch.linalg.eigvalsh(covariance).clamp_min(0)
    extents = cloud.amax(1) - cloud.amin(1)
    radius = torch.linalg.vector_norm(centered, dim=-1).clamp(0, 1)
    cells = (radius * _BINS).long().clamp_max(_BINS - 1)
    histogram = torch.zeros(len(cloud), _BINS, device=cloud.device)
    histogram.scatter_add_(1, cells, torch.full_like(radius, 1 / cloud.shape[1]))
    return torch.cat((eigenvalues, eigenvalues.sqrt(), extents, histogram), dim=1)

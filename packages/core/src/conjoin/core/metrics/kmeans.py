# SPDX-License-Identifier: Apache-2.0
"""K-means that gives the same clusters for the same rows and key, on any number of ranks."""

import torch
from torch import Tensor

from conjoin.core import random

__all__ = ("kmeans",)


def kmeans(x: Tensor, clusters: int, *, key: int = 0, iterations: int = 50) -> Tensor:
    """Cluster of each row of ``x`` (N, K), (N,) int64: Lloyd's iterations from k-means++ seeds.

    Args:
        x: Rows.
        clusters: How many.
        key: Of the seeds.
        iterations: At most so many; it ends when no row changes its cluster.

    Raises:
        ValueError: ``clusters`` outside [1, N].
    """
    if not 1 <= clusters <= len(x):
        raise ValueError(f"clusters must lie in [1, {len(x)}], the number of rows, got {clusters}")
    centres = _seeds(x, clusters, key)
    label = _nearest(x, centres)
    for _ in range(iterations):
        count = label.bincount(minlength=clusters).unsqueeze(1)
        total = torch.zeros_like(centres).index_add_(0, label, x)
        # A cluster that has lost all its rows stays where it is.
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
        before, label = label, _nearest(x, centres)
        if torch.equal(before, label):
            break
    return label


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    return (centres.square().sum(1) - 2 * x @ centres.T).argmin(dim=1)


def _seeds(x: Tensor, clusters: int, key: int) -> Tensor:
    """Arthur and Vassilvitskii, 2007: each next centre is a row drawn by its squared distance."""
    draws = random.uniform(torch.tensor(random.key(key, "kmeans")), clusters).to(x)
    chosen = x[int(draws[0] * len(x))].unsqueeze(0)
    distance = (x - chosen).square().sum(1)
    for draw in draws[1:]:
        mass = distance.cumsum(0)
        place = torch.searchsorted(mass, draw * mass[-1], right=True).clamp(max=len(x) - 1)
        centre = x[place].unsqueeze(0)
        chosen = torch.cat((chosen, centre))
        distance = torch.minimum(distance, (x - centre).square().sum(1))
    return chosen

# SPDX-License-Identifier: Apache-2.0
r"""Intrinsic dimension by the two nearest neighbours.

Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
Scientific Reports 2017. Where the density is about constant over the two nearest neighbours, the ratio
:math:`\mu = r_2 / r_1` of their distances has the distribution :math:`F(\mu) = 1 - \mu^{-d}`. So :math:`d`
is the slope through the origin of :math:`-\ln(1 - F)` against :math:`\ln \mu`, with
:math:`F(\mu_{(i)}) = i / N` for the sorted ratios; the largest tenth, where the assumption is worst, is left
out.
"""

import torch
from torch import Tensor

from conjoin.core.metrics.rows import blocks
from conjoin.core.metrics.spectrum import finite_rows, scaled

__all__ = ("intrinsic_dimension",)


def intrinsic_dimension(z: Tensor, keep: float = 0.9) -> Tensor:
    """TwoNN estimate for the rows of ``z`` (N, K), a float64 scalar.

    Rows that coincide with another one say nothing of a dimension and are left out.

    Args:
        z: Embeddings.
        keep: Share of the ratios, from the smallest, that is fitted.

    Returns:
        The dimension; NaN if hardly any rows differ.

    Raises:
        ValueError: Fewer than three rows, or ``keep`` outside (0, 1).
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep must lie in (0, 1), got {keep}")
    z, _ = scaled(finite_rows(z))
    if len(z) < 3:
        raise ValueError(f"two nearest neighbours need at least 3 embeddings, got {len(z)}")
    z = z - z.mean(dim=0)
    near = torch.cat([_two_nearest(z, part) for part in blocks(len(z))])
    ratio = (near[:, 1] / near[:, 0])[near[:, 0] > 0].sort().values
    count = len(ratio)
    used = int(keep * count)
    x = ratio[:used].log()
    y = -torch.log1p(-torch.arange(1, used + 1, dtype=z.dtype, device=z.device) / count)
    return (x * y).sum() / x.square().sum()


def _two_nearest(z: Tensor, part: slice) -> Tensor:
    """(B, 2) ascending distances of the rows ``z[part]`` to their two nearest others."""
    rows = z[part]
    square = z.square().sum(dim=1) - 2 * rows @ z.T  # up to a constant of the row
    own = torch.arange(len(rows), device=z.device)
    square[own, own + part.start] = torch.inf
    nearest = square.topk(2, dim=1, largest=False).indices
    # Found by products, measured by differences: copies are at a distance of exactly zero.
    distance: Tensor = torch.linalg.vector_norm(z[nearest] - rows.unsqueeze(1), dim=-1)
    return distance.sort(dim=1).values

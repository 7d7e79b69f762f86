# SPDX-License-Identifier: Apache-2.0
r"""Uniformity: how evenly embeddings cover the sphere.

Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the
hypersphere", ICML 2020, arXiv 2005.10242. For the unit vectors :math:`u_i` of N different samples,

.. math::

    \ell_\mathrm{uniform} = \ln \frac{2}{N(N-1)} \sum_{i<j} \exp(-t \lVert u_i - u_j \rVert_2^2),

0 when all coincide; the lower, the more even, with about :math:`-2t` as the limit in many dimensions
(there independent directions are orthogonal, at a squared distance of 2).
"""

import math
from typing import Any

import torch
from torch import Tensor

from conjoin.core.metrics.rows import RowMetric, blocks
from conjoin.core.metrics.spectrum import finite_rows, unit_rows

__all__ = ("Uniformity", "uniformity")


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    """Logarithm of the mean Gaussian potential between the directions of ``z`` (N, K).

    Args:
        z: Embeddings of N different samples; brought to unit length here, rows of zeros to the same
            direction. Memory is that of some rows of
            the N x N distances.
        t: Sharpness of the potential.

    Raises:
        ValueError: Fewer than two rows.
    """
    unit = unit_rows(finite_rows(z))
    rows = len(unit)
    if rows < 2:
        raise ValueError(f"uniformity compares embeddings: give at least 2, got {rows}")
    parts = []
    for part in blocks(rows):
        exponent = 2 * t * (unit[part] @ unit.T - 1)
        own = torch.arange(len(exponent), device=unit.device)
        exponent[own, own + part.start] = -math.inf
        parts.append(exponent.logsumexp(dim=(0, 1)))
    return torch.stack(parts).logsumexp(dim=0) - math.log(rows * (rows - 1))


class Uniformity(RowMetric):
    """Streaming :func:`~conjoin.core.metrics.uniformity`, exact over ranks.

    Args:
        t: Sharpness of the potential.
        max_samples: Rows to look at, over all ranks together, the same number on each (the work grows
            with their square); ``None`` for all.
    """

    higher_is_better = False

    def __init__(self, t: float = 2.0, max_samples: int | None = 5_000, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)
        if t <= 0:
            raise ValueError(f"t must be positive, got {t}")
        self.t = t

    def update(self, z: Tensor, index: Tensor | None = None) -> None:
        """Take in embeddings ``z`` (N, K); with the samples' numbers ``index`` (N,) repeats count once."""
        self.keep(z, index)

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return uniformity(self.kept(), self.t)

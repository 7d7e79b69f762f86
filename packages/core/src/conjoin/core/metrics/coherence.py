# SPDX-License-Identifier: Apache-2.0
r"""Coherence: whether some samples own directions of the embedding for themselves.

Tsitsulin et al., "Unsupervised embedding quality evaluation", arXiv 2305.16562, after Candès and Recht,
"Exact matrix completion via convex optimization", 2009. With the thin singular value decomposition
:math:`Z = U S V^\top` of rank :math:`r`,

.. math:: \mu_0 = \frac{N}{r} \max_i \lVert U_{i\cdot} \rVert_2^2 \in [1, N / r]:

1 when every sample has the same leverage, :math:`N / r` when a direction is spent on a single sample.
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.core.metrics.rows import RowMetric
from conjoin.core.metrics.spectrum import finite_rows, scaled

__all__ = ("Coherence", "coherence")


def coherence(z: Tensor, tolerance: float = 1e-6) -> Tensor:
    """Largest leverage of a row of ``z`` (N, K), in units of the mean leverage; no centering.

    Args:
        z: Embeddings.
        tolerance: Singular values below this share of the largest are the rounding of float32 embeddings
            and no directions.

    Raises:
        ValueError: No row, or nothing but zeros.
    """
    z, _ = scaled(finite_rows(z))
    if not bool(z.any()):
        raise ValueError(f"coherence needs embeddings that are not all zero, got {len(z)} of zeros")
    # Through QR and not through the Gram matrix, whose condition is the square.
    q, r = torch.linalg.qr(z)
    left, sigma, _ = torch.linalg.svd(r, full_matrices=False)
    rank = int((sigma > tolerance * sigma[0]).sum())
    leverage: Tensor = (q @ left[:, :rank]).square().sum(dim=1)
    return len(z) / rank * leverage.max()


class Coherence(RowMetric):
    """Streaming :func:`~conjoin.core.metrics.coherence`, exact over ranks; keeps the rows.

    Args:
        tolerance: See :func:`~conjoin.core.metrics.coherence`.
        max_samples: Rows to look at, over all ranks together, the same number on each; ``None`` for all.
    """

    higher_is_better = False

    def __init__(self, tolerance: float = 1e-6, max_samples: int | None = 25_600, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1), got {tolerance}")
        self.tolerance = tolerance

    def update(self, z: Tensor, index: Tensor | None = None) -> None:
        """Take in embeddings ``z`` (N, K); with the samples' numbers ``index`` (N,) repeats count once."""
        self.keep(z, index)

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return coherence(self.kept(), self.tolerance)

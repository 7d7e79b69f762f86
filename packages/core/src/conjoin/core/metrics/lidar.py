# SPDX-License-Identifier: Apache-2.0
r"""LiDAR: how many directions tell samples apart better than views of one sample.

Thilak et al., "LiDAR: Sensing linear probing performance in joint embedding SSL architectures", ICLR 2024,
arXiv 2312.04000. Each of n samples is a class of its own, its q views are the class's members. With the
means :math:`m_i` of the views :math:`e_{ij}` and :math:`g` of the :math:`m_i`,

.. math::

    \Sigma_b &= \tfrac1{n-1} \sum_i (m_i - g)(m_i - g)^\top, \qquad
    \Sigma_w = \tfrac1{n(q-1)} \sum_{ij} (e_{ij} - m_i)(e_{ij} - m_i)^\top + \delta I, \\
    \lambda &= \operatorname{eig}(\Sigma_w^{-1/2} \Sigma_b \Sigma_w^{-1/2}), \qquad
    \mathrm{LiDAR} = \exp\Bigl(-\sum_k p_k \ln p_k\Bigr), \quad
    p_k = \lambda_k / \lVert\lambda\rVert_1 + \epsilon,

the entropy of RankMe on other numbers, so at most about min(K, n - 1). Directions in which views scatter
as much as samples do carry noise, and count little here, while RankMe counts them in full.

:math:`\epsilon` is added after normalising: added before it, embeddings that have collapsed to a point
(all :math:`\lambda` zero) would have the highest value instead of the lowest. The eigenvalues are taken of
:math:`L^{-1} \Sigma_b L^{-\top}` with the Cholesky factor :math:`L` of :math:`\Sigma_w`: they are the same.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from conjoin.core.metrics.rows import check_max_samples, finite_views, share_of
from conjoin.core.metrics.spectrum import rankme_from_singular_values, spectrum

__all__ = ("LiDAR", "lidar")


def lidar(views: Tensor, delta: float = 1e-4, eps: float = 1e-8) -> Tensor:
    """Rank of the discriminant matrix of ``views`` (N, Q, K): Q views of each of N samples.

    Args:
        views: Embeddings of the views, grouped by sample.
        delta: Added to the diagonal of the scatter within samples. It is in units of the squared
            embeddings: the value is blind to scale only where the scatter is far above it.
        eps: Added to each normalised eigenvalue.

    Raises:
        ValueError: Fewer than two samples or two views.
    """
    views = finite_views(views)
    samples, count, width = views.shape
    if samples < 2:
        raise ValueError(f"LiDAR tells samples apart: give at least 2, got {samples}")
    means = views.mean(dim=1)
    away = means - means.mean(dim=0)
    rest = (views - means.unsqueeze(1)).reshape(-1, width)
    within = rest.T @ rest / (samples * (count - 1))
    return _rank(away.T @ away / (samples - 1), within, delta, eps)


def _rank(between: Tensor, within: Tensor, delta: float, eps: float) -> Tensor:
    eye = torch.eye(len(within), dtype=within.dtype, device=within.device)
    factor = torch.linalg.cholesky(within + delta * eye)
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    whole = torch.linalg.solve_triangular(factor, half.T, upper=False)
    return rankme_from_singular_values(spectrum((whole + whole.T) / 2), eps)


class LiDAR(Metric):
    """Streaming :func:`~conjoin.core.metrics.lidar`, exact over ranks.

    Keeps sums (K x K, float64) and no rows. All views of a sample come in one update, so there is no
    order of a queue to get wrong.

    Args:
        delta: See :func:`~conjoin.core.metrics.lidar`.
        eps: See there.
        max_samples: Samples to look at, over all ranks together; ``None`` for all.

    Example:
        >>> metric = LiDAR()
        >>> metric.update(torch.eye(8).unsqueeze(1).expand(8, 3, 8))
        >>> round(float(metric.compute()), 3)
        7.0
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    samples: Tensor
    total: Tensor
    second: Tensor
    scatter: Tensor
    freedom: Tensor

    def __init__(
        self, delta: float = 1e-4, eps: float = 1e-8, max_samples: int | None = 25_600, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if delta <= 0:
            raise ValueError(f"delta must be positive, got {delta}")
        self.delta = delta
        self.eps = eps
        self.max_samples = check_max_samples(max_samples)
        for name in ("samples", "freedom"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        # Scalars stand for "no width known yet".
        for name in ("total", "second", "scatter"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, views: Tensor) -> None:
        """Take in the views (N, Q, K) of N samples."""
        views = finite_views(views)
        views = views[: share_of(self.max_samples, int(self.samples), len(views))]
        means = views.mean(dim=1)
        rest = (views - means.unsqueeze(1)).flatten(0, 1)
        self.samples = self.samples + len(views)
        self.freedom = self.freedom + len(views) * (views.shape[1] - 1)
        self.total = self.total + means.sum(dim=0)
        self.second = self.second + means.T @ means
        self.scatter = self.scatter + rest.T @ rest

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        if int(self.samples) < 2:
            raise ValueError(f"LiDAR tells samples apart: give at least 2, got {int(self.samples)}")
        between = self.second - torch.outer(self.total, self.total) / self.samples
        return _rank(between / (self.samples - 1), self.scatter / self.freedom, self.delta, self.eps)

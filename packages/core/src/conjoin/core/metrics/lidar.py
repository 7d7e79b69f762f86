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

from typing import Any, ClassVar

import torch
from torch import Tensor

from conjoin.core.metrics.moments import Moments, MomentState, moments
from conjoin.core.metrics.rows import finite_views, share_of
from conjoin.core.metrics.spectrum import is_rounding, rankme_from_singular_values, spectrum

__all__ = ("LiDAR", "lidar")


def lidar(views: Tensor, delta: float = 1e-4, eps: float = 1e-8) -> Tensor:
    """Rank of the discriminant matrix of ``views`` (N, Q, K): Q views of each of N samples.

    Args:
        views: Embeddings of the views, grouped by sample.
        delta: Added to the diagonal of the scatter within samples. It is in units of the squared
            embeddings: the value is blind to scale only where the scatter is far above it. Where the scatter
            is so large that it is lost in its rounding, what is added is as large as the rounding.
        eps: Added to each normalised eigenvalue.

    Raises:
        ValueError: Fewer than two samples or two views.
    """
    views = finite_views(views)
    if len(views) < 2:
        raise ValueError(f"LiDAR tells samples apart: give at least 2, got {len(views)}")
    return _rank(_moments(views), delta, eps)


def _moments(views: Tensor) -> Moments:
    """Of the means of the views, with the scatter around them and its degrees of freedom."""
    # From the first view, so that views that are equal have a scatter of exactly zero.
    rest = views - views[:, :1]
    shift = rest.mean(dim=1, keepdim=True)
    means = (views[:, :1] + shift).squeeze(1)
    rest = (rest - shift).flatten(0, 1)
    freedom = torch.tensor(len(views) * (views.shape[1] - 1), device=views.device)
    return moments(means, within=rest.T @ rest, freedom=freedom)


def _rank(found: Moments, delta: float, eps: float) -> Tensor:
    between, within = found["scatter"] / (found["count"] - 1), found["within"] / found["freedom"]
    if not bool(between.isfinite().all() and within.isfinite().all()):
        raise ValueError("the embeddings are too large: their squares overflow float64")
    square = between.trace() + found["mean"].square().sum()
    between = torch.where(is_rounding(between.trace(), square), 0, between)
    eye = torch.eye(len(within), dtype=within.dtype, device=within.device)
    rounding = torch.finfo(within.dtype).eps * len(within) * within.trace()
    factor = torch.linalg.cholesky(within + rounding.clamp(min=delta) * eye)
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    whole = torch.linalg.solve_triangular(factor, half.T, upper=False)
    return rankme_from_singular_values(spectrum((whole + whole.T) / 2), eps)


class LiDAR(MomentState):
    """Streaming :func:`~conjoin.core.metrics.lidar`, exact over ranks.

    Keeps sums (K x K, float64) and no rows. All views of a sample come in one update, so there is no
    order of a queue to get wrong.

    Args:
        delta: See :func:`~conjoin.core.metrics.lidar`.
        eps: See there.
        max_samples: Samples to look at, over all ranks together, the same number on each; ``None`` for all.

    Example:
        >>> metric = LiDAR()
        >>> metric.update(torch.eye(8).unsqueeze(1).expand(8, 3, 8))
        >>> round(float(metric.compute()), 3)
        7.0
    """

    higher_is_better = True
    names: ClassVar[tuple[str, ...]] = (*MomentState.names, "within", "freedom")

    within: Tensor
    freedom: Tensor

    def __init__(
        self, delta: float = 1e-4, eps: float = 1e-8, max_samples: int | None = 25_600, **kwargs: Any
    ) -> None:
        super().__init__(max_samples, **kwargs)
        if delta <= 0:
            raise ValueError(f"delta must be positive, got {delta}")
        self.delta = delta
        self.eps = eps
        self.add_state("within", torch.zeros(0, 0, dtype=torch.float64))
        self.add_state("freedom", torch.zeros((), dtype=torch.int64))

    def update(self, views: Tensor) -> None:
        """Take in the views (N, Q, K) of N samples."""
        views = finite_views(views)
        views = views[: share_of(self.max_samples, int(self.count), len(views))]
        if len(views):
            self.take(_moments(views))

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        if int(self.count) < 2:
            raise ValueError(f"LiDAR tells samples apart: give at least 2, got {int(self.count)}")
        return _rank(self._moments(), self.delta, self.eps)

# SPDX-License-Identifier: Apache-2.0
"""Streaming torchmetrics over embeddings, exact over ranks.

A metric keeps the sums ``N``, ``sum z`` and ``sum z z^T`` in float64. They add up over batches and
ranks, so the value is that of all rows together, in whatever order and on whichever rank they
came, and memory is K x K instead of N x K. Every rank must have been given at least one row.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from conjoin.core.distributed import world_size
from conjoin.core.metrics.spectrum import (
    PowerLaw,
    finite_rows,
    power_law,
    rankme_from_singular_values,
    ratio_to_largest,
    self_cluster_from_moment,
    spectrum,
)

__all__ = ("AlphaReQ", "EmbeddingEigenvalues", "NESum", "RankMe", "SelfCluster", "StableRank")


class _MomentMetric(Metric):
    """Base: counts, sums and second moments of the rows seen.

    Args:
        max_samples: Rows to look at, over all ranks together; later ones are ignored, because
            values are comparable only at equal N. ``None`` looks at all.
    """

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False

    count: Tensor
    total: Tensor
    second: Tensor

    def __init__(self, max_samples: int | None = 25_600, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if max_samples is not None and max_samples < 2:
            raise ValueError(f"max_samples must be at least 2 or None, got {max_samples}")
        self.max_samples = max_samples
        # Scalars stand for "no width known yet"; the first rows broadcast them to (K,) and (K, K).
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("second", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, z: Tensor) -> None:
        """Take in embeddings ``z`` (N, K)."""
        z = self._prepare(finite_rows(z))
        if self.max_samples is not None:
            share = self.max_samples // world_size()
            z = z[: max(share - int(self.count), 0)]
        self.count = self.count + len(z)
        self.total = self.total + z.sum(dim=0)
        self.second = self.second + z.T @ z

    def _prepare(self, z: Tensor) -> Tensor:
        return z

    def _singular_values(self) -> Tensor:
        if int(self.count) < 1:
            raise ValueError(f"{type(self).__name__} has seen no embeddings: call update first")
        values = spectrum(self.second).sqrt()
        return values[: int(self.count)]

    def _eigenvalues(self) -> Tensor:
        if int(self.count) < 2:
            raise ValueError(f"a covariance needs at least 2 embeddings, got {int(self.count)}")
        centred = self.second - torch.outer(self.total, self.total) / self.count
        return spectrum(centred / (self.count - 1))


class RankMe(_MomentMetric):
    """Effective rank of the embeddings, see :func:`~conjoin.core.metrics.rankme`.

    Args:
        max_samples: Rows to look at, over all ranks together (the paper's 25,600); ``None`` for all.
        eps: Added to each normalised singular value.

    Example:
        >>> metric = RankMe()
        >>> metric.update(torch.eye(8))
        >>> round(float(metric.compute()), 3)
        8.0
    """

    def __init__(self, max_samples: int | None = 25_600, eps: float = 1e-7, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)
        self.eps = eps

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return rankme_from_singular_values(self._singular_values(), self.eps)


class StableRank(_MomentMetric):
    """``||Z||_F^2 / ||Z||_2^2``, see :func:`~conjoin.core.metrics.stable_rank`."""

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return ratio_to_largest(self._singular_values().square())


class EmbeddingEigenvalues(_MomentMetric):
    """Covariance eigenvalues, see :func:`~conjoin.core.metrics.embedding_eigenvalues`."""

    higher_is_better = None

    def compute(self) -> Tensor:
        """(K,) float64, descending."""
        return self._eigenvalues()


class NESum(_MomentMetric):
    """Sum of covariance eigenvalues over the largest, see :func:`~conjoin.core.metrics.nesum`."""

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return ratio_to_largest(self._eigenvalues())


class AlphaReQ(_MomentMetric):
    """Decay exponent of the covariance spectrum, see :func:`~conjoin.core.metrics.power_law`."""

    higher_is_better = None

    def __init__(
        self,
        max_samples: int | None = 25_600,
        window: tuple[int, int] = (4, 100),
        weighted: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_samples, **kwargs)
        self.window = window
        self.weighted = weighted

    def fit(self) -> PowerLaw:
        """Exponent, R^2 and the window that was used, of the rows seen on this rank."""
        return power_law(self._eigenvalues(), self.window, self.weighted)

    def compute(self) -> Tensor:
        """The exponent, a float64 scalar; near 1 is best."""
        return self.fit().alpha


class SelfCluster(_MomentMetric):
    """Crowding of directions, see :func:`~conjoin.core.metrics.self_cluster`."""

    higher_is_better = False

    def _prepare(self, z: Tensor) -> Tensor:
        return torch.nn.functional.normalize(z, dim=1)

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return self_cluster_from_moment(self.second, int(self.count))

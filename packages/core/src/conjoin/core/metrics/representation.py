# SPDX-License-Identifier: Apache-2.0
"""Streaming torchmetrics over embeddings, exact over ranks.

A metric keeps the number of rows, their mean and their second moment around it in float64. They add up
over batches and ranks, so the value is that of all rows together, in whatever order and on whichever rank
they came, and memory is K x K instead of N x K. A rank without rows adds nothing.
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.core.metrics.moments import MomentState, moments
from conjoin.core.metrics.rows import share_of
from conjoin.core.metrics.spectrum import (
    PowerLaw,
    finite_rows,
    power_law,
    rankme_from_singular_values,
    ratio_to_largest,
    self_cluster_from_moment,
    spectrum,
    unit_rows,
)

__all__ = ("AlphaReQ", "EmbeddingEigenvalues", "NESum", "RankMe", "SelfCluster", "StableRank")


class _MomentMetric(MomentState):
    """Base: moments of the rows seen.

    Args:
        max_samples: Rows to look at, over all ranks together; later ones are ignored, because
            values are comparable only at equal N. Of W ranks each looks at ``max_samples // W``.
            ``None`` looks at all.
    """

    higher_is_better: bool | None = True

    def __init__(self, max_samples: int | None = 25_600, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)

    def update(self, z: Tensor) -> None:
        """Take in embeddings ``z`` (N, K)."""
        z = self._prepare(finite_rows(z))
        z = z[: share_of(self.max_samples, int(self.count), len(z))]
        if len(z):
            self.take(moments(z))

    def _prepare(self, z: Tensor) -> Tensor:
        return z

    def _second(self) -> Tensor:
        """``sum z z^T`` (K, K)."""
        if int(self.count) < 1:
            raise ValueError(f"{type(self).__name__} has seen no embeddings: call update first")
        return self.scatter + self.count * torch.outer(self.mean, self.mean)

    def _singular_values(self) -> Tensor:
        values = spectrum(self._second()).sqrt()
        return values[: int(self.count)]

    def _eigenvalues(self) -> Tensor:
        if int(self.count) < 2:
            raise ValueError(f"a covariance needs at least 2 embeddings, got {int(self.count)}")
        return spectrum(self.scatter / (self.count - 1), self._square())


class RankMe(_MomentMetric):
    """Effective rank of the embeddings, see :func:`~conjoin.core.metrics.rankme`.

    Args:
        max_samples: Rows to look at, over all ranks together (the paper's 25,600), the same number on each;
            ``None`` for all.
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

    def __init__(self, max_samples: int | None = 25_600, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)
        # So that a MetricCollection does not take it for one of rows that happened to have unit length.
        self.add_state("unit", torch.tensor(1), dist_reduce_fx="max")

    def _prepare(self, z: Tensor) -> Tensor:
        return unit_rows(z)

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return self_cluster_from_moment(self._second(), int(self.count))

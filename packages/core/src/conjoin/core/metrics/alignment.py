# SPDX-License-Identifier: Apache-2.0
r"""Alignment: how far apart the views of a sample lie on the sphere.

Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the
hypersphere", ICML 2020, arXiv 2005.10242. For unit vectors :math:`u` of two views of a sample,

.. math:: \ell_\mathrm{align} = \mathbb{E} \, \lVert u - u' \rVert_2^\alpha,

here the mean over all pairs of the views of a sample. 0 when all views coincide, which a constant
embedding reaches as well: read it beside uniformity.
"""

from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from conjoin.core.metrics.rows import finite_views
from conjoin.core.metrics.spectrum import unit_rows

__all__ = ("Alignment", "alignment")


def alignment(views: Tensor, alpha: float = 2.0) -> Tensor:
    """Mean distance, to the power ``alpha``, of the views of a sample.

    Args:
        views: (N, Q, K), Q views of each of N samples; brought to unit length here.
        alpha: The power.

    Raises:
        ValueError: Fewer than two views, or no sample.
    """
    total, pairs = _sums(finite_views(views), alpha)
    if pairs == 0:
        raise ValueError("alignment needs at least one sample, got none")
    return total / pairs


def _sums(views: Tensor, alpha: float) -> tuple[Tensor, int]:
    unit = unit_rows(views)
    total = unit.new_zeros(())
    pairs = list(combinations(range(views.shape[1]), 2))
    for one, other in pairs:
        total = total + (unit[:, one] - unit[:, other]).norm(dim=-1).pow(alpha).sum()
    return total, len(views) * len(pairs)


class Alignment(Metric):
    """Streaming :func:`~conjoin.core.metrics.alignment`, exact over ranks."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    pairs: Tensor

    def __init__(self, alpha: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if alpha <= 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha
        # A state, so that a MetricCollection does not take two powers for one.
        self.add_state("power", torch.tensor(alpha, dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, views: Tensor) -> None:
        """Take in the views (N, Q, K) of N samples."""
        total, pairs = _sums(finite_views(views), self.alpha)
        self.total = self.total + total
        self.pairs = self.pairs + pairs

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        if int(self.pairs) == 0:
            raise ValueError("Alignment has seen no views: call update first")
        return self.total / self.pairs

# SPDX-License-Identifier: Apache-2.0
r"""Barlow Twins: the cross-correlation of two views shall be the identity.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021, arXiv
2103.03230. With each column standardised over the global batch of N rows (biased variance, eps 1e-5) and
:math:`c = \hat z_1^\top \hat z_2 / N`,

.. math:: L = s \Bigl( \sum_d (c_{dd} - 1)^2 + \lambda \sum_{d \ne e} c_{de}^2 \Bigr),
          \qquad \lambda = 0.0051,\ s = 1 .

The release has no s; some reimplementations scale by 0.024 to 0.1, which matters under SGD (``scale``). Means
and variances are those of all ranks, as SyncBN makes them in the release, whose gradient is however divided
by the number of ranks; here it is exact. More than two views: the mean over all pairs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conjoin.core.objectives.off_diagonal import off_diagonal_energy
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import column_sum, global_rows
from conjoin.core.objectives.views import Views, as_views, view_pairs
from conjoin.core.spec import SelfDescribing

__all__ = ("BarlowTwins", "barlow_twins")


def _standardised(z: Tensor, total: int, eps: float) -> Tensor:
    """Columns of zero mean over all ranks, whose squares add up to (nearly) one."""
    z = z - column_sum(z) / total
    variance = column_sum(z.square()) / total
    return z * ((variance + eps) * total).rsqrt()


def barlow_twins(
    views: Sequence[Tensor], redundancy: float = 0.0051, scale: float = 1.0, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Both terms of Barlow Twins for V views, each (n, D) rows of this rank.

    Args:
        views: Matrices in float32 or float64.
        redundancy: Weight of what is outside the diagonal, lambda.
        scale: Factor on both terms, s.
        eps: Added to the variances.

    Returns:
        The invariance and the weighted redundancy term, scalars over the global batch.
    """
    total = global_rows(views[0])
    standardised = [_standardised(view, total, eps) for view in views]
    invariance = off_diagonal = views[0].new_zeros(())
    pairs = view_pairs(len(views))
    for i, j in pairs:
        diagonal = column_sum(standardised[i] * standardised[j])
        invariance = invariance + (diagonal - 1).square().sum()
        off_diagonal = off_diagonal + off_diagonal_energy(standardised[i], standardised[j], rows=total)
    return scale / len(pairs) * invariance, scale * redundancy / len(pairs) * off_diagonal


class BarlowTwins(SelfDescribing, nn.Module):
    """Module of :func:`barlow_twins`.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
        >>> round(BarlowTwins()(z, -z).loss.item(), 4)
        7.9999
    """

    def __init__(self, redundancy: float = 0.0051, scale: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__()
        if redundancy < 0 or scale <= 0 or eps <= 0:
            raise ValueError(
                f"redundancy must not be negative and scale and eps must be positive, not {redundancy}, "
                f"{scale}, {eps}."
            )
        self.redundancy = redundancy
        self.scale = scale
        self.eps = eps

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D); terms ``invariance``, ``redundancy``."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            invariance, redundancy = barlow_twins(found, self.redundancy, self.scale, self.eps)
        terms = {"invariance": invariance.detach(), "redundancy": redundancy.detach()}
        return ObjectiveOutput(invariance + redundancy, terms)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"redundancy={self.redundancy}, scale={self.scale}, eps={self.eps}"

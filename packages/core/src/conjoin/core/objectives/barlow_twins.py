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
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.off_diagonal import off_diagonal_energy, prefers_rows
from conjoin.core.objectives.once import once_differentiable
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


class _Correlation(torch.autograd.Function):
    r"""Both sums through the D x D matrix c, with standardised copies only while they are needed.

    With :math:`G = \partial L / \partial c`, a the standardised and x the raw view and r the factor between
    them, :math:`\partial L / \partial x = r (b G^\top - a \sum_e G_{de} c_{de})`: the mean that centring
    would take out is zero already, since b has none.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, total: int, eps: float) -> tuple[Tensor, Tensor]:
        shifts, factors, centred = [], [], []
        for z in (x, y):
            shifts.append(column_sum(z) / total)
            centred.append(z - shifts[-1])
            squares = distributed.all_reduce_sum(torch.linalg.vector_norm(centred[-1], dim=0).square())
            factors.append((squares + total * eps).rsqrt())
        c = distributed.all_reduce_sum(centred[0].T @ centred[1])
        c.mul_(factors[0].unsqueeze(1)).mul_(factors[1])
        diagonal = c.diagonal().clone()
        c.diagonal().zero_()
        energies = [torch.linalg.vector_norm(c, dim=side).square() for side in (1, 0)]
        # With the factors of both sides it takes centred views, and no copy of it is needed later.
        slope = c.mul_(factors[0].unsqueeze(1)).mul_(factors[1])
        ctx.save_for_backward(x, y, *shifts, *factors, *energies, slope, diagonal)
        return (diagonal - 1).square().sum(), energies[0].sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, invariance: Tensor, off_diagonal: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, y, shift_x, shift_y, factor_x, factor_y, energy_x, energy_y, slope, diagonal = ctx.saved_tensors
        # The adjoint of sums over ranks: this rank's rows enter the value on every rank.
        weights = 2 * distributed.all_reduce_sum(torch.stack((invariance, off_diagonal)))
        invariance, off_diagonal = weights.unbind()
        x, y = x - shift_x, y - shift_y
        own = invariance * (diagonal - 1)
        grads = []
        for mine, other, factor, energy in ((x, y, factor_x, energy_x), (y, x, factor_y, energy_y)):
            along = (off_diagonal * energy + own * diagonal) * factor.square()
            grads.append((other * (own * factor_x * factor_y)).addcmul_(mine, along, value=-1))
        grads[0].addmm_(y.mul_(off_diagonal), slope.T)
        grads[1].addmm_(x.mul_(off_diagonal), slope)
        return grads[0], grads[1], None, None


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

    Raises:
        ValueError: For one sample in the global batch, which has no correlations.
    """
    total = global_rows(views[0], at_least=2)
    wide = prefers_rows(total, views[0].shape[1])
    standardised = [_standardised(view, total, eps) for view in views] if wide else []
    invariance = off_diagonal = views[0].new_zeros(())
    pairs = view_pairs(len(views))
    for i, j in pairs:
        if wide:
            diagonal = column_sum(standardised[i] * standardised[j])
            own = (diagonal - 1).square().sum()
            rest = off_diagonal_energy(standardised[i], standardised[j])
        else:
            own, rest = _Correlation.apply(views[i], views[j], total, eps)  # type: ignore[no-untyped-call]
        invariance, off_diagonal = invariance + own, off_diagonal + rest
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

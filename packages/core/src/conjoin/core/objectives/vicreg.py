# SPDX-License-Identifier: Apache-2.0
r"""VICReg: invariance between views, variance and covariance within each.

Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning", ICLR 2022, arXiv 2105.04906. With C the covariance (ddof 1) of a view over the global batch,

.. math:: L = \mu \operatorname{mean} (z - z')^2
          + \frac{\nu}{2} \sum_{v} \operatorname{mean}_d \max\bigl(0, 1 - \sqrt{C_{dd} + \epsilon}\bigr)
          + \xi \sum_{v} \frac1D \sum_{d \ne e} C_{de}^2,

:math:`\mu = \nu = 25`, :math:`\xi = 1`, :math:`\epsilon = 10^{-4}`. As in the released code: the invariance
is a mean over rows *and* columns (the paper's is D times larger), the variance term is averaged over the two
views and the covariance term is summed over them. More than two views: the mean over all pairs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from conjoin.core import distributed
from conjoin.core.objectives.off_diagonal import off_diagonal_energy, prefers_rows
from conjoin.core.objectives.once import once_differentiable
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, global_rows
from conjoin.core.objectives.views import Views, as_views, view_pairs
from conjoin.core.spec import SelfDescribing

__all__ = ("VICReg", "spread", "vicreg")


class _Spread(torch.autograd.Function):
    r"""Both terms through the D x D covariance C, with centred copies only while they are needed.

    With the centred view c, the slopes h and e of the two terms and standard deviations s, the gradient is

    .. math:: \frac{1}{D (N - 1)} \Bigl( 4 e\, c\,(C - \operatorname{diag} C)
              - h\, c \odot \frac{\mathbb 1[s < 1]}{s} \Bigr) .

    Centring has nothing to take out of it: the columns of c add up to zero.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, total: int, eps: float) -> tuple[Tensor, Tensor]:
        mean = distributed.all_reduce_sum(z.sum(dim=-2, keepdim=True)) / total
        centred = z - mean
        covariance = distributed.all_reduce_sum(centred.mT @ centred).div_(total - 1)
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        deviation = (diagonal + eps).sqrt()
        diagonal.zero_()
        ctx.save_for_backward(z, mean, deviation, covariance)
        ctx.total = total
        energy = torch.linalg.vector_norm(covariance, dim=(-2, -1)).square()
        return torch.relu(1 - deviation).mean(dim=-1), energy / z.shape[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, hinge: Tensor, energy: Tensor) -> tuple[Tensor, None, None]:
        z, mean, deviation, covariance = ctx.saved_tensors
        # The adjoint of sums over ranks: this rank's rows enter the value on every rank.
        slopes = distributed.all_reduce_sum(torch.stack((hinge, energy))) / (z.shape[-1] * (ctx.total - 1))
        hinge, energy = slopes[..., None, None].unbind()
        centred = z - mean
        grad = (centred @ covariance).mul_(4 * energy)
        narrow = ((deviation < 1) / deviation).unsqueeze(-2)
        return grad.addcmul_(centred, hinge * narrow, value=-1), None, None


def spread(z: Tensor, total: int, eps: float = 1e-4) -> tuple[Tensor, Tensor]:
    """The variance hinge and the mean covariance energy of one view.

    Args:
        z: (..., n, D), rows of this rank; leading dimensions are independent problems.
        total: Rows of all ranks.
        eps: Added to the variances.

    Returns:
        ``mean_d max(0, 1 - std_d)`` and ``sum_{d != e} C_de^2 / D``, each (...).
    """
    if not prefers_rows(total, z.shape[-1], 1):
        found: tuple[Tensor, Tensor] = _Spread.apply(z, total, eps)  # type: ignore[no-untyped-call]
        return found
    z = z - distributed.all_reduce_sum(z.sum(dim=-2, keepdim=True)) / total
    z = z * (total - 1) ** -0.5
    variance = distributed.all_reduce_sum(z.square().sum(dim=-2))
    hinge = torch.relu(1 - torch.sqrt(variance + eps)).mean(dim=-1)
    return hinge, off_diagonal_energy(z) / z.shape[-1]


def vicreg(views: Sequence[Tensor], eps: float = 1e-4) -> tuple[Tensor, Tensor, Tensor]:
    """The three unweighted terms of VICReg for V views, each (n, D) rows of this rank.

    Args:
        views: Matrices in float32 or float64.
        eps: Added to the variances.

    Returns:
        Invariance, variance and covariance, scalars over the global batch.
    """
    total = global_rows(views[0], at_least=2)
    pairs = view_pairs(len(views))
    # No differences wait for the backward pass.
    distances = [functional.mse_loss(views[i], views[j], reduction="sum") for i, j in pairs]
    invariance = global_mean(torch.stack(distances), total * len(pairs) * views[0].shape[1])
    hinges, energies = zip(*(spread(view, total, eps) for view in views), strict=True)
    return invariance, torch.stack(hinges).mean(), 2 * torch.stack(energies).mean()


class VICReg(SelfDescribing, nn.Module):
    """Weighted sum of :func:`vicreg`.

    Args:
        invariance: Weight mu.
        variance: Weight nu.
        covariance: Weight xi.
        eps: Added to the variances.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
        >>> round(VICReg()(z, z).loss.item(), 5)
        3.55556
    """

    def __init__(
        self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, eps: float = 1e-4
    ) -> None:
        super().__init__()
        if min(invariance, variance, covariance) < 0 or eps <= 0:
            raise ValueError(
                "invariance, variance and covariance must not be negative and eps must be positive, not "
                f"{invariance}, {variance}, {covariance}, {eps}."
            )
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance
        self.eps = eps

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D); three terms with their weights."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            invariance, variance, covariance = vicreg(found, self.eps)
            invariance = self.invariance * invariance
            variance = self.variance * variance
            covariance = self.covariance * covariance
        terms = {
            "invariance": invariance.detach(),
            "variance": variance.detach(),
            "covariance": covariance.detach(),
        }
        return ObjectiveOutput(invariance + variance + covariance, terms)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"invariance={self.invariance}, variance={self.variance}, covariance={self.covariance}, "
            f"eps={self.eps}"
        )

# SPDX-License-Identifier: Apache-2.0
r"""Smooth L1 between unit vectors: the objective of CNN-JEPA (arXiv 2408.07514).

With predictions and targets of unit length over the channels, :math:`\hat p` and :math:`\hat h`,

.. math::
    L = \frac{1}{n} \sum_{\text{target cells}} \sum_c \mathrm{smooth}_{\beta}(\hat p_c - \hat h_c),
    \qquad \mathrm{smooth}_1(d) = \tfrac12 d^2 \text{ for } |d| < 1 .

While no channel differs by :math:`\beta = 1` or more, that is the mean of :math:`1 - \cos(p, h)`.
Samples have different numbers of target cells, so :math:`n` counts those of the whole batch, over all ranks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conjoin.core import distributed
from conjoin.core.objectives import ObjectiveOutput

__all__ = ("UnitSmoothL1", "unit_smooth_l1")


def unit_smooth_l1(
    predictions: Tensor, targets: Tensor, valid: Tensor | None = None, *, beta: float = 1.0
) -> Tensor:
    """Mean over target cells of the smooth L1 distance, summed over channels, of normalised features.

    Args:
        predictions: (..., D).
        targets: (..., D); detached here.
        valid: Booleans (...): cells that count.
        beta: Where the distance turns from quadratic to linear.

    Returns:
        Scalar, the same on all ranks.

    Raises:
        ValueError: If shapes differ.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions {tuple(predictions.shape)} and targets {tuple(targets.shape)} must have the same "
            "shape."
        )
    targets = targets.detach() if targets.dtype == torch.float64 else targets.detach().float()
    targets = F.normalize(targets, dim=-1)
    predictions = F.normalize(predictions.to(targets.dtype), dim=-1)
    cells = F.smooth_l1_loss(predictions, targets, beta=beta, reduction="none").sum(-1)
    weights = torch.ones_like(cells) if valid is None else valid.to(cells.dtype)
    sums: Tensor = distributed.all_reduce_sum(torch.stack([(cells * weights).sum(), weights.sum()]))
    total: Tensor = sums[0] / sums[1].clamp_min(1)
    return total


class UnitSmoothL1(nn.Module):
    """Module of :func:`unit_smooth_l1`.

    Example:
        >>> z = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
        >>> round(UnitSmoothL1()(z, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).loss.item(), 3)
        0.5
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if beta <= 0:
            raise ValueError(f"beta must be positive, not {beta}.")
        self.beta = beta

    def forward(self, predictions: Tensor, targets: Tensor, valid: Tensor | None = None) -> ObjectiveOutput:
        """Score (..., D) predictions against (..., D) targets."""
        with torch.autocast(predictions.device.type, enabled=False):
            return ObjectiveOutput(unit_smooth_l1(predictions, targets, valid, beta=self.beta))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"beta={self.beta}"

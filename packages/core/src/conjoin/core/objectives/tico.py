# SPDX-License-Identifier: Apache-2.0
r"""TiCo: alignment with a momentum branch, against a running second moment.

Zhu et al., "TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual
Representation Learning", 2022, arXiv 2206.10698. With unit rows z of the student and t of the momentum
branch (no gradient), :math:`B = \frac1N \sum_i z_i z_i^\top` (not centred) and the memory

.. math:: C \leftarrow \beta C + (1 - \beta) B, \qquad
          L = 1 - \frac1N \sum_i z_i \cdot t_i + \rho\, \frac1N \sum_i z_i^\top C z_i,

:math:`\beta = 0.9`, :math:`\rho = 8`; the loss uses the memory after its update. C starts at 0, so the
contrast is weak in the first steps; it is the mean squared cosine with all past embeddings, of which about
:math:`N / (1 - \beta)` count. No official code is public. Under gradient accumulation each micro-batch sees
the memory moved by its own B, and the memory moves once, by their mean.

Options: ``moment_gradient`` lets the gradient flow through B inside C (an unofficial implementation does),
``constant`` False drops the 1 (another does).
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.core import distributed
from conjoin.core.objectives.once import once_differentiable
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.views import Views, as_pairs, check_width, row_cosine, unit

__all__ = ("TiCo", "second_moment", "tico_contrast")


def second_moment(z: Tensor) -> Tensor:
    """``sum_i z_i z_i^T`` over the rows (n, D) of all ranks: (D, D), with exact gradients."""
    return distributed.all_reduce_sum(z.T @ z)


class _QuadraticForm(torch.autograd.Function):
    """``sum_i z_i^T C z_i`` for a symmetric C: the product of the forward pass is half the gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, memory: Tensor) -> Tensor:
        product = z @ memory
        ctx.save_for_backward(z, product)
        return torch.dot(z.flatten(), product.flatten())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        z, product = ctx.saved_tensors
        return 2 * grad * product, grad * (z.T @ z) if ctx.needs_input_grad[1] else None


def tico_contrast(z: Tensor, memory: Tensor, total: int) -> Tensor:
    """``mean_i z_i^T C z_i`` over the rows (n, D) of all ranks, for a symmetric memory C (D, D)."""
    form: Tensor = _QuadraticForm.apply(z, memory)  # type: ignore[no-untyped-call]
    return global_mean(form, total)


class TiCo(StatefulObjective):
    """TiCo with its memory as a buffer.

    Args:
        dim: Width D of the embeddings.
        rho: Weight of the contrast.
        beta: How much of the memory stays in each optimiser step.
        moment_gradient: Let the gradient flow through the batch's own second moment.
        constant: Keep the 1 in the loss.

    Example:
        >>> z = torch.eye(4)
        >>> round(TiCo(4)(z, z).loss.item(), 6)  # rho (1 - beta) / 4
        0.2
    """

    memory: Tensor

    def __init__(
        self,
        dim: int,
        rho: float = 8.0,
        beta: float = 0.9,
        moment_gradient: bool = False,
        constant: bool = True,
    ) -> None:
        super().__init__()
        if rho < 0 or not 0 <= beta < 1:
            raise ValueError(f"rho must not be negative and beta must be in [0, 1), not {rho}, {beta}.")
        self.dim = dim
        self.rho = rho
        self.beta = beta
        self.moment_gradient = moment_gradient
        self.constant = constant
        self.register_buffer("memory", torch.zeros(dim, dim))

    def forward(self, students: Views, targets: Views) -> ObjectiveOutput:
        """Score student against momentum rows, (N, D) or stacks; see :mod:`conjoin.core.objectives`.

        For stacks, directions are averaged and B is the mean over the student's views.
        """
        own, others, pairs = as_pairs(students, targets)
        check_width(own[0], self.dim, self)
        with torch.autocast(own[0].device.type, enabled=False):
            rows = unit(torch.cat(own))
            total = row_range(rows)[1]
            cosines = torch.stack([row_cosine(own[i], others[j]) for i, j in pairs])
            alignment = int(self.constant) - global_mean(cosines, total * len(pairs) // len(own))
            moment = second_moment(rows if self.moment_gradient else rows.detach())
            memory = (self.memory * self.beta).to(rows.dtype).add_(moment, alpha=(1 - self.beta) / total)
            contrast = self.rho * tico_contrast(rows, memory, total)
        self.observe(moment, moment.new_full((), total))
        return ObjectiveOutput(
            alignment + contrast, {"alignment": alignment.detach(), "contrast": contrast.detach()}
        )

    def commit(self, *seen: Tensor) -> None:
        """Move the memory towards the mean of one optimiser step."""
        moment, rows = seen
        self.memory.mul_(self.beta).addcmul_(moment, (1 - self.beta) / rows)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"dim={self.dim}, rho={self.rho}, beta={self.beta}, "
            f"moment_gradient={self.moment_gradient}, constant={self.constant}"
        )

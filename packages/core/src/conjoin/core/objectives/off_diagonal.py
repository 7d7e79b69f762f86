# SPDX-License-Identifier: Apache-2.0
r"""Energy outside the diagonal of a product of embeddings, in the memory of the smaller side.

.. math:: E(A, B) = \sum_{d \ne e} \Bigl( \sum_n A_{nd} B_{ne} \Bigr)^2

is the redundancy term of Barlow Twins (two views) and of VICReg (a view with itself). With N rows of all
ranks and D columns there are two ways:

* N large: form ``A^T B`` (D x D) once, in place, and reduce it over ranks; the backward pass uses it again.
* N small: ``||A^T B||_F^2 = sum_{nm} (a_n . a_m)(b_n . b_m)`` needs N x N alone; rows are gathered.

Leading dimensions are batches of such problems.
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.core import distributed

__all__ = ("off_diagonal_energy", "prefers_rows")


class _ByColumns(torch.autograd.Function):
    """``E`` through the D x D product; the gradient is 2 g B C^T for A and 2 g A C for B, C off-diagonal."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None) -> Tensor:
        product = distributed.all_reduce_sum(a.mT @ (a if b is None else b))
        product.diagonal(dim1=-2, dim2=-1).zero_()
        ctx.save_for_backward(a, b, product)
        energy: Tensor = torch.linalg.vector_norm(product, dim=(-2, -1)).square()
        return energy

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        a, b, product = ctx.saved_tensors
        # The adjoint of a sum over ranks: this rank's rows enter the value on every rank.
        scale = 2 * distributed.all_reduce_sum(grad)[..., None, None]
        if b is None:
            return (a @ product).mul_(2 * scale), None
        return (b @ product.mT).mul_(scale), (a @ product).mul_(scale)


def _gather(rows: Tensor) -> Tensor:
    """(..., n, D) to (..., N, D)."""
    if not distributed.is_distributed():
        return rows
    return distributed.gather_with_grad(rows.movedim(-2, 0).contiguous()).movedim(0, -2)


def _by_rows(a: Tensor, b: Tensor | None) -> Tensor:
    own = a @ _gather(a).mT
    gram = own.square() if b is None else own * (b @ _gather(b).mT)
    diagonal = distributed.all_reduce_sum((a * (a if b is None else b)).sum(dim=-2))
    return distributed.all_reduce_sum(gram.sum(dim=(-2, -1))) - diagonal.square().sum(dim=-1)


def prefers_rows(rows: int, columns: int, sides: int = 2) -> bool:
    """Whether the N x N products of each side are no more work than the D x D one."""
    return rows * sides <= columns


def off_diagonal_energy(a: Tensor, b: Tensor | None = None, *, rows: int) -> Tensor:
    """Sum of squares outside the diagonal of ``a^T b`` over the rows of all ranks; exact gradients.

    Args:
        a: (..., n, D), rows of this rank.
        b: (..., n, D), or None for ``a`` itself.
        rows: Rows of all ranks, see :func:`conjoin.core.objectives.reduction.global_rows`.

    Returns:
        (...), the same on all ranks.
    """
    if prefers_rows(rows, a.shape[-1], 1 if b is None else 2):
        return _by_rows(a, b)
    result: Tensor = _ByColumns.apply(a, b)  # type: ignore[no-untyped-call]
    return result

# SPDX-License-Identifier: Apache-2.0
r"""Energy outside the diagonal of a product of embeddings, through products of rows.

.. math:: E(A, B) = \sum_{d \ne e} \Bigl( \sum_n A_{nd} B_{ne} \Bigr)^2

is the redundancy term of Barlow Twins (two views) and of VICReg (a view with itself). With N rows of all
ranks and D columns, ``||A^T B||_F^2 = sum_{nm} (a_n . a_m)(b_n . b_m)`` needs N x N products alone, which is
less than the D x D product where rows are few. Where they are many, each objective forms that one for itself
and shares it with its other terms. Leading dimensions are batches of such problems.
"""

from torch import Tensor

from conjoin.core import distributed

__all__ = ("off_diagonal_energy", "prefers_rows")


def _gather(rows: Tensor) -> Tensor:
    """(..., n, D) to (..., N, D)."""
    if not distributed.is_distributed():
        return rows
    return distributed.gather_with_grad(rows.movedim(-2, 0).contiguous()).movedim(0, -2)


def prefers_rows(rows: int, columns: int, sides: int = 2) -> bool:
    """Whether the N x N products of each side are no more work than the D x D one."""
    return rows * sides <= columns


def off_diagonal_energy(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Sum of squares outside the diagonal of ``a^T b`` over the rows of all ranks; rows are gathered.

    Args:
        a: (..., n, D), rows of this rank.
        b: (..., n, D), or None for ``a`` itself.

    Returns:
        (...), the same on all ranks.
    """
    own = a @ _gather(a).mT
    gram = own.square() if b is None else own * (b @ _gather(b).mT)
    diagonal = distributed.all_reduce_sum((a * (a if b is None else b)).sum(dim=-2))
    return distributed.all_reduce_sum(gram.sum(dim=(-2, -1))) - diagonal.square().sum(dim=-1)

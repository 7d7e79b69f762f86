# SPDX-License-Identifier: Apache-2.0
r"""Log-sum-exp over a similarity matrix without keeping the matrix more than once.

.. math:: \ell_i = \log \sum_{j \notin E_i} \exp(q_i \cdot k_j)

is the part of every contrastive loss that costs memory. Up to ``limit`` entries the probabilities, which the
backward pass needs, are kept in the place of the similarities: one matrix. Beyond that, rows are treated in
chunks and the backward pass computes them again: memory is linear in the number of rows, at the cost of
one product more.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ("row_logsumexp",)

_LIMIT = 1 << 26


def _probabilities(q: Tensor, k: Tensor, exclude: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax rows (n, M) and their log-sum-exp (n,), in the memory of one matrix."""
    p = q @ k.T
    if exclude is not None:
        p.scatter_(1, exclude, -torch.inf)
    top = p.amax(dim=1, keepdim=True)
    p.sub_(top).exp_()
    total = p.sum(dim=1, keepdim=True)
    p.div_(total)
    return p, (top + total.log()).squeeze(1)


class _RowLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, exclude: Tensor | None, chunk: int) -> Tensor:
        ctx.chunk = chunk
        if chunk >= q.shape[0]:
            p, result = _probabilities(q, k, exclude)
            ctx.save_for_backward(q, k, p)
            return result
        ctx.save_for_backward(q, k, exclude)
        parts = [
            _probabilities(q[i : i + chunk], k, None if exclude is None else exclude[i : i + chunk])[1]
            for i in range(0, q.shape[0], chunk)
        ]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        q, k, third = ctx.saved_tensors
        grad = grad.unsqueeze(1)
        if ctx.chunk >= q.shape[0]:
            return grad * (third @ k), third.T @ (grad * q), None, None
        grad_q, grad_k = torch.empty_like(q), torch.zeros_like(k)
        for i in range(0, q.shape[0], ctx.chunk):
            rows = slice(i, i + ctx.chunk)
            p, _ = _probabilities(q[rows], k, None if third is None else third[rows])
            grad_q[rows] = grad[rows] * (p @ k)
            grad_k.addmm_(p.T, grad[rows] * q[rows])
        return grad_q, grad_k, None, None


def row_logsumexp(q: Tensor, k: Tensor, exclude: Tensor | None = None, *, limit: int = _LIMIT) -> Tensor:
    """Log-sum-exp of each row of ``q @ k.T``; differentiable once.

    Args:
        q: (n, D).
        k: (M, D).
        exclude: int64 (n, E): columns that do not count in each row. At least one column must be left.
        limit: Entries of the similarity matrix that may be in memory at a time.

    Returns:
        (n,).
    """
    chunk = max(1, limit // k.shape[0])
    result: Tensor = _RowLogSumExp.apply(q, k, exclude, chunk)  # type: ignore[no-untyped-call]
    return result

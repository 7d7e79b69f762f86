# SPDX-License-Identifier: Apache-2.0
r"""Log-sum-exp over a similarity matrix, with its gradients, in the memory of that one matrix or less.

With the similarities :math:`S_{ij} = s\, q_i \cdot k_j`, contrastive losses are made of

.. math:: r_i = \log \sum_{j \notin E_i} e^{S_{ij}}, \qquad c_j = \log \sum_i e^{S_{ij}}, \qquad
          p_i = S_{i\,\pi(i)} .

The gradient by S is :math:`e^{S_{ij} - r_i}` times that of :math:`r_i`, and alike for :math:`c_j`. S is kept
up to ``limit`` entries, and beyond that made again, block by block, in the backward pass: memory is then
linear in the number of rows at the cost of one product more. Everything else is done in blocks that stay in
a processor's cache. When both sides are the same rows, S is symmetric and one product gives the whole
gradient.
"""

from typing import Any

import torch
from torch import Tensor

from conjoin.core.objectives.once import once_differentiable

__all__ = ("row_and_column_logsumexp", "row_logsumexp", "self_logsumexp")

_LIMIT = 1 << 26


def _block(rows: int, columns: int, device: torch.device) -> int:
    """Rows treated at a time: a few megabytes on a processor, long kernels elsewhere."""
    return max(1, min(rows, (1 << (20 if device.type == "cpu" else 26)) // max(1, columns)))


def _logsumexp(s: Tensor, dim: int) -> Tensor:
    """Over one axis. The largest entry is known on both sides of log-softmax, which is one fused pass."""
    return s.amax(dim) - torch.log_softmax(s, dim).amax(dim)


class _LogSumExp(torch.autograd.Function):
    """r (n,), c (M,; empty unless ``mode`` is "both") and p (n,; empty without partners).

    ``mode`` "self": k is q, and both ``exclude`` and ``partner`` are symmetric relations.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        exclude: Tensor | None,
        partner: Tensor | None,
        scale: float | Tensor,
        mode: str,
        limit: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        count, columns = q.shape[0], k.shape[0]
        kept = count * columns <= limit
        block = _block(count, columns, q.device) if kept else max(1, min(count, limit // columns))
        whole = (q @ k.T).mul_(scale) if kept else None
        rows, positive = q.new_empty(count), q.new_empty(count if partner is not None else 0)
        across = q.new_full((columns if mode == "both" else 0,), -torch.inf)
        for i in range(0, count, block):
            part = slice(i, i + block)
            s = (q[part] @ k.T).mul_(scale) if whole is None else whole[part]
            if partner is not None:
                positive[part] = s.gather(1, partner[part]).squeeze(1)
            if exclude is not None:
                s.scatter_(1, exclude[part], -torch.inf)
            rows[part] = _logsumexp(s, 1)
            if mode == "both":
                across = torch.logaddexp(across, _logsumexp(s, 0))
        learnt = scale if isinstance(scale, Tensor) else None
        ctx.save_for_backward(q, k, exclude, partner, whole, rows, across, learnt)
        ctx.settings = scale if learnt is None else 1.0, mode, block
        return rows, across, positive

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_rows: Tensor, grad_across: Tensor, grad_positive: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, Tensor | None, None, None]:
        q, k, exclude, partner, whole, rows, across, learnt = ctx.saved_tensors
        fixed, mode, block = ctx.settings
        # Memory is highest here: small matrices are halved twice, too.
        block = min(block, -(-q.shape[0] // 4))
        scale = fixed if learnt is None else learnt
        if mode == "self":  # what a row is to the others, they are to it
            across, grad_across = rows, grad_rows
            if partner is not None:
                grad_positive = grad_positive + grad_positive[partner.squeeze(1)]
        needs_q, needs_k, _, _, needs_scale, _, _ = ctx.needs_input_grad
        needs_k = needs_k and mode != "self"
        grad_q = torch.empty_like(q) if needs_q or needs_scale else None
        grad_k = torch.zeros_like(k) if needs_k else None
        for i in range(0, q.shape[0], block):
            part = slice(i, i + block)
            if whole is not None:
                s = whole[part]
            else:
                s = (q[part] @ k.T).mul_(scale)
                if exclude is not None:
                    s.scatter_(1, exclude[part], -torch.inf)
            slope = torch.softmax(s, dim=1).mul_(grad_rows[part].unsqueeze(1))
            if mode != "rows":
                alone = mode == "both" and block >= q.shape[0]
                slope.addcmul_(torch.softmax(s, dim=0) if alone else (s - across).exp_(), grad_across)
            if partner is not None:
                slope.scatter_add_(1, partner[part], grad_positive[part].unsqueeze(1))
            if grad_q is not None:
                torch.addmm(grad_q[part], slope, k, beta=0, alpha=fixed, out=grad_q[part])
            if grad_k is not None:
                grad_k.addmm_(slope.T, q[part], alpha=fixed)
        if learnt is not None:
            for grad in (grad_q, grad_k):
                if grad is not None:
                    grad.mul_(learnt)
        # q's gradient is s G k, so its product with q is s times the gradient by s.
        grad_scale = (grad_q * q).sum() / learnt if needs_scale else None
        return grad_q, grad_k, None, None, grad_scale, None, None


def row_logsumexp(
    q: Tensor,
    k: Tensor,
    exclude: Tensor | None = None,
    partner: Tensor | None = None,
    *,
    scale: float | Tensor = 1.0,
    limit: int = _LIMIT,
) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of each row of ``scale * q @ k.T``, and each row's similarity to its partner.

    Differentiable once.

    Args:
        q: (n, D).
        k: (M, D).
        exclude: int64 (n, E): columns that do not count in each row. At least one column must be left.
        partner: int64 (n, 1): a column of each row.
        scale: On the products; a positive scalar tensor gets its gradient.
        limit: Entries of the similarity matrix that may be in memory at a time.

    Returns:
        (n,), and (n,) or empty without ``partner``.
    """
    rows, _, positive = _LogSumExp.apply(q, k, exclude, partner, scale, "rows", limit)  # type: ignore[no-untyped-call]
    return rows, positive


def self_logsumexp(
    u: Tensor,
    exclude: Tensor | None = None,
    partner: Tensor | None = None,
    *,
    scale: float = 1.0,
    limit: int = _LIMIT,
) -> tuple[Tensor, Tensor]:
    """:func:`row_logsumexp` of rows with themselves, at two thirds of its products.

    Args:
        u: (n, D).
        exclude: int64 (n, E), as there; if i excludes j, j must exclude i.
        partner: int64 (n, 1), as there; partners must be each other's.
        scale: On the products.
        limit: As there.

    Returns:
        (n,), and (n,) or empty without ``partner``.
    """
    rows, _, positive = _LogSumExp.apply(u, u.detach(), exclude, partner, scale, "self", limit)  # type: ignore[no-untyped-call]
    return rows, positive


def row_and_column_logsumexp(
    q: Tensor, k: Tensor, *, scale: float | Tensor = 1.0, limit: int = _LIMIT
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-sum-exp of the rows and of the columns of ``scale * q @ k.T``, and its diagonal; from one product.

    Args:
        q: (n, D).
        k: (n, D).
        scale: As in :func:`row_logsumexp`.
        limit: As in :func:`row_logsumexp`.

    Returns:
        Three times (n,).
    """
    own = torch.arange(q.shape[0], device=q.device).unsqueeze(1)
    found: tuple[Tensor, Tensor, Tensor] = _LogSumExp.apply(q, k, None, own, scale, "both", limit)  # type: ignore[no-untyped-call]
    return found

# SPDX-License-Identifier: Apache-2.0
r"""Sinkhorn-Knopp: soft assignments whose prototypes are used equally.

Cuturi, "Sinkhorn Distances", NeurIPS 2013; as used by SwAV (Caron et al., NeurIPS 2020, arXiv 2006.09882).
From scores :math:`S` of N samples and K prototypes, start with :math:`Q = e^{S / \epsilon}` and repeat:
divide by the sums over samples and by K, then by the sums over prototypes and by N. Samples come last, so
each row of the result (times N) sums to one and columns nearly to N / K. The first iteration is done in
logarithms: neither large scores nor unused prototypes overflow.
"""

import torch
from torch import Tensor

from conjoin.core import distributed

__all__ = ("sinkhorn_knopp",)


def _log_sum_over_samples(log_q: Tensor) -> Tensor:
    """(n, K) of each rank to (K,), the same on all ranks."""
    own = torch.logsumexp(log_q, dim=0) if log_q.shape[0] else log_q.new_full(log_q.shape[1:], -torch.inf)
    if not distributed.is_distributed():
        return own
    return torch.logsumexp(distributed.gather_with_grad(own.unsqueeze(0), even=True), dim=0)


@torch.no_grad()
def sinkhorn_knopp(
    scores: Tensor, temperature: float = 0.05, iterations: int = 3, valid: Tensor | None = None
) -> Tensor:
    """Balanced assignments of the samples of all ranks; no gradient.

    Args:
        scores: (n, K), rows of this rank, in float32 or float64.
        temperature: Epsilon.
        iterations: How often both sides are normalised.
        valid: (n,) booleans: rows that take part; the others' assignments mean nothing.

    Returns:
        (n, K), rows of sum 1.
    """
    log_q = scores / temperature
    if valid is not None:
        log_q = torch.where(valid.unsqueeze(1), log_q, -torch.inf)
    log_q.sub_(_log_sum_over_samples(log_q))
    # Columns add up to one now, in logarithms. A row's largest entry becomes one, so no row is empty either.
    largest = log_q.amax(dim=1, keepdim=True)
    if valid is not None:
        largest = torch.where(valid.unsqueeze(1), largest, 0)
    q = log_q.sub_(largest).exp_()
    # Rows and columns are only ever scaled: two vectors hold all that follows.
    rows = q.sum(dim=1, keepdim=True).reciprocal_()
    if valid is not None:
        rows = torch.where(valid.unsqueeze(1), rows, 0)
    columns = q.new_ones(1, q.shape[1])
    for _ in range(iterations - 1):
        columns = distributed.all_reduce_sum(rows.T @ q).reciprocal_()
        rows = (q @ columns.T).reciprocal_()
        if valid is not None:
            rows = torch.where(valid.unsqueeze(1), rows, 0)
    return q.mul_(rows).mul_(columns)

# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy between soft assignments of one view and the scores of another: SwAV, DINO, iBOT."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from conjoin.core.objectives.once import once_differentiable
from conjoin.core.objectives.reduction import global_mean, row_range

__all__ = ("cross_entropy", "soft_cross_entropy")


class _CrossEntropy(torch.autograd.Function):
    """``-sum_k q_k log softmax_k(s)``; its gradient is ``|q| softmax(s) - q`` from s and q alone."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor) -> Tensor:
        partition = torch.logsumexp(scores, dim=-1)
        mass = targets.sum(dim=-1)
        ctx.save_for_backward(scores, targets, partition, mass)
        return mass * partition - (scores * targets).sum(dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        scores, targets, partition, mass = ctx.saved_tensors
        slope = (scores - partition.unsqueeze(-1)).exp_().mul_(mass.unsqueeze(-1)).sub_(targets)
        return slope.mul_(grad.unsqueeze(-1)), None


def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of scores (..., K) with targets (..., K), which get no gradient: (...)."""
    result: Tensor = _CrossEntropy.apply(scores, targets)  # type: ignore[no-untyped-call]
    return result


def soft_cross_entropy(
    logits: Sequence[Tensor], targets: Sequence[Tensor], pairs: Sequence[tuple[int, int]]
) -> Tensor:
    """Mean over pairs (i, j) and rows of all ranks of ``-sum_k targets[j] log softmax(logits[i])``.

    Args:
        logits: (n, K) each, already divided by their temperature.
        targets: (n, K) each, rows of sum 1.
        pairs: Which are compared.

    Returns:
        Scalar over the global batch.
    """
    total = row_range(logits[0])[1]
    losses = []
    for i, scores in enumerate(logits):
        # The cross-entropy is linear in its target: one log-softmax per view serves all its partners.
        partners = [targets[j] for student, j in pairs if student == i]
        if partners:
            losses.append(cross_entropy(scores, sum(partners[1:], partners[0])))
    return global_mean(torch.stack(losses), total * len(pairs))

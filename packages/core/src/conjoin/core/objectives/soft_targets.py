# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy between soft assignments of one view and the scores of another: SwAV, DINO, iBOT."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from conjoin.core.objectives.reduction import global_mean, row_range

__all__ = ("soft_cross_entropy",)


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
            losses.append(F.cross_entropy(scores, sum(partners[1:], partners[0]), reduction="none"))
    return global_mean(torch.stack(losses), total * len(pairs))

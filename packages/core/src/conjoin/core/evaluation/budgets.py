# SPDX-License-Identifier: Apache-2.0
"""Few-label budgets: the same number of labelled samples of every class, drawn by key."""

import torch
from torch import Tensor

from conjoin.core import random

__all__ = ("draw_labels",)


def draw_labels(label: Tensor, per_class: int, *, seed: int = 0, draw: int = 0) -> Tensor:
    """Positions of ``per_class`` samples of each class, all of a class that has fewer.

    The samples of a smaller budget are among those of a larger one of the same draw.

    Args:
        label: (N,) int64; entries below zero are never drawn.
        per_class: Budget, at least 1.
        seed: Of the draws.
        draw: Number of the draw; each is independent of the others.

    Returns:
        Ascending positions (M,) int64.

    Raises:
        ValueError: ``per_class`` below 1, or no sample has a label.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")
    classes = sorted(set(label[label >= 0].tolist()))
    if not classes:
        raise ValueError("no sample has a label: a label budget cannot be drawn")
    chosen = []
    for name in classes:
        members = (label == name).nonzero().flatten()
        key = torch.tensor(random.key(seed, "few_labels", draw, name))
        chosen.append(members[random.permutation(key, len(members))[:per_class]])
    return torch.cat(chosen).sort().values

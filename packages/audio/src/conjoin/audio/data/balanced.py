# SPDX-License-Identifier: Apache-2.0
"""Sampling by weight, so that rare labels come as often as common ones.

AudioSet's most common label has thousands of times as many clips as its rarest. AST and AudioMAE draw clips
with replacement, each with a chance in proportion to the sum of ``1 / (clips of the label)`` over its labels.
"""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conjoin.core import random
from conjoin.core.data import KeyedSampler

__all__ = ("BalancedSampler", "clip_weights")


def clip_weights(labels: NDArray[np.float32]) -> Tensor:
    """Weights (N,), not normalised, of clips with labels (N, L) of 0 and 1."""
    each = 1 / np.maximum(labels.sum(axis=0, dtype=np.float64), 1)
    return torch.from_numpy(labels @ each)


class BalancedSampler(KeyedSampler):
    """A keyed sampler whose epochs are draws with replacement.

    Args:
        weights: (N,) at least 0.
        batch_size: Samples per batch and rank.
        seed: The run's seed.
        num_replicas: World size.
        rank: This process.

    Raises:
        ValueError: If no weight is positive.
    """

    def __init__(
        self, weights: Tensor, batch_size: int, *, seed: int = 0, num_replicas: int = 1, rank: int = 0
    ) -> None:
        super().__init__(len(weights), batch_size, seed=seed, num_replicas=num_replicas, rank=rank)
        edges = weights.double().cumsum(dim=0)
        if float(edges[-1]) <= 0:
            raise ValueError("Balanced sampling needs clips with labels: all weights are 0.")
        self.edges = edges / edges[-1]

    def order(self, epoch: int) -> list[int]:
        """N draws, the same on every rank."""
        u = random.uniform(torch.tensor(random.key(self.seed, "balanced order", epoch)), self.size)
        return cast("list[int]", torch.searchsorted(self.edges, u, right=True).tolist())

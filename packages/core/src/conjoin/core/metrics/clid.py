# SPDX-License-Identifier: Apache-2.0
"""CLID: cluster learnability beside intrinsic dimension.

Lu et al., "Using representation expressiveness and learnability to evaluate self-supervised learning
methods", TMLR 2023, arXiv 2206.01251. Expressiveness is the intrinsic dimension of the embeddings
(:mod:`conjoin.core.metrics.intrinsic_dimension`). Learnability is how well neighbours know which cluster of
k-means a sample fell into: the rows, brought to unit length, are clustered into about the square root of N
clusters and split into halves, and each row of the second half is given the cluster of the nearest row of
the first. (An earlier version of the paper scores neighbours online, each row by those before it.)

The two have different units, so they are reported apart; the paper adds them after both were normalised
over the models that are compared.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from conjoin.core import random
from conjoin.core.metrics.intrinsic_dimension import intrinsic_dimension
from conjoin.core.metrics.kmeans import kmeans
from conjoin.core.metrics.rows import RowMetric
from conjoin.core.metrics.spectrum import finite_rows, unit_rows

__all__ = ("Clid", "ClidParts", "clid", "cluster_learnability")


class ClidParts(NamedTuple):
    """Accuracy in [0, 1], and a dimension; float64 scalars."""

    cluster_learnability: Tensor
    intrinsic_dimension: Tensor


def cluster_learnability(z: Tensor, clusters: int | None = None, seed: int = 0) -> Tensor:
    """Share of rows whose nearest neighbour in the other half is of their cluster, a float64 scalar.

    Args:
        z: Embeddings (N, K). Clusters and halves are drawn by the place of a row, so give the rows of all
            models in the same order.
        clusters: Of k-means; the rounded square root of N if not given.
        seed: Of the clusters and of the halves.

    Raises:
        ValueError: Fewer than four rows, or more clusters than rows.
    """
    unit = unit_rows(finite_rows(z))
    rows = len(unit)
    if rows < 4:
        raise ValueError(f"cluster learnability needs at least 4 embeddings, got {rows}")
    label = kmeans(unit, round(math.sqrt(rows)) if clusters is None else clusters, key=seed)
    order = random.permutation(torch.tensor(random.key(seed, "halves")), rows).to(unit.device)
    known, asked = order[: rows // 2], order[rows // 2 :]
    right = 0
    for part in torch.split(asked, 4096):
        nearest = known[(unit[part] @ unit[known].T).argmax(dim=1)]
        right += int((label[nearest] == label[part]).sum())
    return torch.tensor(right / len(asked), dtype=torch.float64, device=unit.device)


def clid(z: Tensor, clusters: int | None = None, seed: int = 0) -> ClidParts:
    """Both parts for the embeddings ``z`` (N, K), see :func:`~conjoin.core.metrics.cluster_learnability`."""
    return ClidParts(cluster_learnability(z, clusters, seed), intrinsic_dimension(z))


class Clid(RowMetric):
    """Streaming :func:`~conjoin.core.metrics.clid`, exact over ranks.

    Samples are numbered, because clusters and halves depend on the order of the rows, and because a row that
    a padding sampler repeats would find itself as its nearest neighbour.

    Args:
        clusters: See :func:`~conjoin.core.metrics.cluster_learnability`.
        seed: See there.
        max_samples: Rows to look at, over all ranks together, the same number on each (the work grows
            with their square); ``None`` for all.
    """

    higher_is_better = True

    def __init__(
        self, clusters: int | None = None, seed: int = 0, max_samples: int | None = 5_000, **kwargs: Any
    ) -> None:
        super().__init__(max_samples, **kwargs)
        self.clusters = clusters
        self.seed = seed

    def update(self, z: Tensor, index: Tensor) -> None:
        """Take in embeddings ``z`` (N, K) of the samples numbered ``index`` (N,), from 0.

        Raises:
            ValueError: There are no numbers, or one is negative.
        """
        if index is None:
            raise ValueError("Clid needs the samples' numbers: give an index")
        if bool((index < 0).any()):
            raise ValueError("Clid needs the samples' numbers: index must not be negative")
        self.keep(z, index)

    def compute(self) -> ClidParts:
        """Cluster learnability and intrinsic dimension."""
        return clid(self.kept(), self.clusters, self.seed)

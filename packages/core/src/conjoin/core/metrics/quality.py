# SPDX-License-Identifier: Apache-2.0
"""All label-free measures of one set of embeddings, and in which direction each is better."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from conjoin.core.metrics.alignment import alignment
from conjoin.core.metrics.clid import cluster_learnability
from conjoin.core.metrics.coherence import coherence
from conjoin.core.metrics.condition import pseudo_condition_number
from conjoin.core.metrics.intrinsic_dimension import intrinsic_dimension
from conjoin.core.metrics.lidar import lidar
from conjoin.core.metrics.rows import finite_samples
from conjoin.core.metrics.spectrum import alpha_req, finite_rows, nesum, rankme, self_cluster, stable_rank
from conjoin.core.metrics.uniformity import uniformity

__all__ = ("MEASURES", "PAIRWISE_ROWS", "Measure", "label_free")

PAIRWISE_ROWS = 5_000
"""Rows that measures over all pairs look at, evenly spaced: their work grows with the square."""

On = Literal["rows", "pairs", "views"]


@dataclass(frozen=True)
class Measure:
    """A label-free measure.

    Attributes:
        name: In files and options.
        title: In tables.
        best: Which values are good: high ones, low ones, or those near one.
        on: What it is taken of: all rows, some rows (see :data:`PAIRWISE_ROWS`), or several views of each of
            some samples.
        of: The function, of rows (N, K) or of views (N, Q, K).
    """

    name: str
    title: str
    best: Literal["high", "low", "one"]
    on: On
    of: Callable[[Tensor], Tensor]

    def goodness(self, value: float) -> float:
        """A number that is the higher, the better the measure finds the embeddings."""
        if self.best == "one":
            return -abs(value - 1)
        return value if self.best == "high" else -value


def _alpha(z: Tensor) -> Tensor:
    return alpha_req(z).alpha


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("rankme", "RankMe", "high", "rows", rankme),
        Measure("lidar", "LiDAR", "high", "views", lidar),
        Measure("alpha_req", "alpha-ReQ", "one", "rows", _alpha),
        Measure("nesum", "NESum", "high", "rows", nesum),
        Measure("stable_rank", "stable rank", "high", "rows", stable_rank),
        Measure("condition", "pseudo condition", "low", "rows", pseudo_condition_number),
        Measure("coherence", "coherence", "low", "rows", coherence),
        Measure("self_cluster", "self-cluster", "low", "rows", self_cluster),
        Measure("cluster_learnability", "CL", "high", "pairs", cluster_learnability),
        Measure("intrinsic_dimension", "ID", "high", "pairs", intrinsic_dimension),
        Measure("uniformity", "uniformity", "low", "pairs", uniformity),
        Measure("alignment", "alignment", "low", "views", alignment),
    )
}
"""Every measure by its name."""


def label_free(z: Tensor, views: Tensor | None = None) -> dict[str, float]:
    """Every measure of :data:`MEASURES` of one set of embeddings.

    Args:
        z: (N, K), one clean view of each sample, in an order that is the same for all that is compared.
        views: (M, Q, K), Q augmented views of each of M samples. None, or views that do not differ, leave the
            measures on views out.

    Returns:
        A value per name; NaN where a measure cannot be taken, as a power law through three eigenvalues, and
        everywhere of a run that has diverged, where no row is finite.
    """
    z = finite_rows(z)
    some = torch.arange(min(len(z), PAIRWISE_ROWS), device=z.device)
    some = some * len(z) // max(len(some), 1)
    if views is not None:
        views = views[finite_samples(views, "NQK")]
        views = None if _same(views) else views
    given: dict[On, Tensor | None] = {"rows": z, "pairs": z[some], "views": views}
    return {name: _value(measure, given[measure.on]) for name, measure in MEASURES.items()}


def _same(views: Tensor) -> bool:
    """Whether the views of a sample differ by nothing but rounding, beside what tells samples apart."""
    if not len(views):
        return True
    first = views[:, :1]
    # Strictly less: embeddings that are all one point have no spread, but a LiDAR.
    return bool((views - first).abs().max() < 1e-4 * (first - first.mean(dim=0)).abs().max())


def _value(measure: Measure, given: Tensor | None) -> float:
    if given is None:
        return math.nan
    try:
        return float(measure.of(given))
    # Too few rows or eigenvalues, all zero, or too large.
    except (ValueError, torch.linalg.LinAlgError):  # type: ignore[attr-defined]  # not in its __all__
        return math.nan

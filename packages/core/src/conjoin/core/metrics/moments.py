# SPDX-License-Identifier: Apache-2.0
"""Count, mean and centred second moment of rows, added up over batches and ranks without cancellation.

The sums ``sum z`` and ``sum z z^T`` lose a variance far from the origin to rounding. So the second moment is
kept around the mean, and two of them are merged as in Chan, Golub and LeVeque, "Updating formulae and a
pairwise algorithm for computing sample variances", 1979.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from conjoin.core.metrics.rows import CappedMetric
from conjoin.core.metrics.spectrum import centred

__all__ = ("MomentState", "Moments", "merged", "moments")

Moments = dict[str, Tensor]
"""``count`` (), ``mean`` (K,) and ``scatter`` (K, K) of rows, and plain sums under other names."""


def moments(rows: Tensor, **sums: Tensor) -> Moments:
    """Of at least one row (N, K)."""
    rest, mean = centred(rows)
    count = torch.tensor(len(rows), device=rows.device)
    return {"count": count, "mean": mean, "scatter": rest.T @ rest, **sums}


def merged(one: Moments, other: Moments) -> Moments:
    """The moments of the rows of both; no rows add nothing, and have no width.

    Raises:
        ValueError: The rows differ in width.
    """
    if int(other["count"]) == 0:
        return one
    if int(one["count"]) == 0:
        return other
    left, right = len(one["mean"]), len(other["mean"])
    if left != right:
        raise ValueError(f"embeddings of {left} and of {right} columns cannot be measured together")
    both = {name: one[name] + other[name] for name in one}
    away = other["mean"] - one["mean"]
    # In double: a quotient of integers would be single.
    share = other["count"].to(torch.float64) / both["count"]
    both["mean"] = one["mean"] + share * away
    both["scatter"] = both["scatter"] + share * one["count"] * torch.outer(away, away)
    return both


class MomentState(CappedMetric):
    """Base: keeps moments; a rank that has seen no rows adds nothing."""

    names: ClassVar[tuple[str, ...]] = ("count", "mean", "scatter")

    count: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(self, max_samples: int | None, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)
        # The width is not known before the first rows.
        self.add_state("count", torch.zeros((), dtype=torch.int64))
        self.add_state("mean", torch.zeros(0, dtype=torch.float64))
        self.add_state("scatter", torch.zeros(0, 0, dtype=torch.float64))

    def take(self, more: Moments) -> None:
        """Take in the moments of other rows."""
        self._put(merged(self._moments(), more))

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Take in what another metric of this class, or its state, has seen, whatever the maximum."""
        state = self._incoming(incoming_state)
        self.take({name: state[name] for name in self.names})
        self._computed = None

    def _moments(self) -> Moments:
        return {name: getattr(self, name) for name in self.names}

    def _put(self, state: Moments) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None
    ) -> None:
        group = process_group or self.process_group
        gathered = [dist_sync_fn(getattr(self, name), group=group) for name in self.names]
        ranks = [dict(zip(self.names, parts, strict=True)) for parts in zip(*gathered, strict=True)]
        whole = ranks[0]
        for state in ranks[1:]:
            whole = merged(whole, state)
        self._put(whole)

    def _square(self) -> Tensor:
        """Mean squared norm of the rows."""
        return self.scatter.trace() / self.count + self.mean.square().sum()

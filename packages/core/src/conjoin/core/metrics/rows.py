# SPDX-License-Identifier: Apache-2.0
"""What the measures need that look at rows and not at sums: rows kept over ranks, views kept together.

Distances and leverages are no functions of second moments, so :class:`RowMetric` keeps the rows
themselves, gathers them from all ranks and, where samples are numbered, puts them in the order of their
numbers and keeps each sample once. The result then depends neither on the order in which samples came,
nor on who saw them, nor on the repetitions of samplers that pad. A rank without rows adds nothing.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from conjoin.core.distributed import world_size

__all__ = ("CappedMetric", "RowMetric", "finite_samples", "share_of")

# Entries of a block of pairwise distances: 32 MiB of float64.
BLOCK = 1 << 22


def finite_samples(z: Tensor, axes: str = "NK") -> Tensor:
    """(N,) bool: samples without a NaN or an infinity, with a warning if there are any others.

    Args:
        z: The samples along the first axis.
        axes: A letter per axis that ``z`` must have.

    Raises:
        ValueError: ``z`` has another number of axes.
    """
    if z.ndim != len(axes):
        raise ValueError(f"embeddings must have shape ({', '.join(axes)}), got {tuple(z.shape)}")
    keep = z.isfinite().flatten(1).all(dim=1)
    if not bool(keep.all()):
        lost = int((~keep).sum())
        warnings.warn(f"{lost} of {len(z)} embeddings are NaN or infinite and are left out", stacklevel=3)
    return keep


def finite_views(views: Tensor) -> Tensor:
    """(N, Q, K) float64 samples all of whose views are finite.

    Raises:
        ValueError: There are fewer than two views, or ``views`` has another number of axes.
    """
    views = views.detach()[finite_samples(views, "NQK")].to(torch.float64)
    if views.shape[1] < 2:
        raise ValueError(f"this measure compares views of a sample: give at least 2, got {views.shape[1]}")
    return views


def share_of(max_samples: int | None, seen: int, offered: int) -> int:
    """How many of the offered samples this rank takes in: at most ``max_samples // world_size`` in all."""
    if max_samples is None:
        return offered
    return min(offered, max(max_samples // world_size() - seen, 0))


def check_max_samples(max_samples: int | None) -> int | None:
    """``max_samples`` itself.

    Raises:
        ValueError: It is below 2.
    """
    if max_samples is not None and max_samples < 2:
        raise ValueError(f"max_samples must be at least 2 or None, got {max_samples}")
    return max_samples


def _widths(one: int, other: int) -> ValueError:
    return ValueError(f"embeddings of {one} and of {other} columns cannot be measured together")


def blocks(rows: int) -> list[slice]:
    """Slices of ``range(rows)`` whose distances to all rows fit in one block of memory."""
    size = max(BLOCK // max(rows, 1), 1)
    return [slice(start, start + size) for start in range(0, rows, size)]


class CappedMetric(Metric):
    """Base: looks at ``max_samples`` samples at most.

    Args:
        max_samples: Samples to look at, over all ranks together; later ones are ignored, because values are
            comparable only at equal N. Of W ranks each looks at ``max_samples // W``. ``None`` looks at all.
    """

    is_differentiable = False
    higher_is_better: bool | None = None
    # The maximum counts what was seen before, which forward() otherwise hides from update().
    full_state_update = True

    cap: Tensor

    def __init__(self, max_samples: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_samples = check_max_samples(max_samples)
        # A state, because a MetricCollection lets metrics share their states where these are alike. Split,
        # because it compares with a tolerance.
        self.add_state("cap", torch.tensor(divmod(max_samples or 0, 1000)), dist_reduce_fx="max")

    def _incoming(self, state: dict[str, Any] | Metric) -> dict[str, Any]:
        """The state to merge, of a metric or as it is."""
        if not isinstance(state, Metric):
            return state
        if not isinstance(state, type(self)):
            raise ValueError(f"{type(self).__name__} cannot take in the state of a {type(state).__name__}")
        return state.metric_state


class RowMetric(CappedMetric):
    """Base: keeps rows (N, K) and their samples' numbers.

    Args:
        max_samples: Rows to look at, over all ranks together, the same number on each; later ones are
            ignored, because values are comparable only at equal N. ``None`` looks at all.
    """

    rows: list[Tensor]
    numbers: list[Tensor]

    def __init__(self, max_samples: int | None, **kwargs: Any) -> None:
        super().__init__(max_samples, **kwargs)
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("numbers", [], dist_reduce_fx="cat")

    def keep(self, z: Tensor, index: Tensor | None) -> None:
        """Take in embeddings ``z`` (N, K) of the samples ``index`` (N,); None numbers none of them.

        Raises:
            ValueError: There is not one number per row, or rows differ in width.
        """
        finite = finite_samples(z)
        index = torch.full((len(z),), -1, device=z.device) if index is None else index.to(z.device)
        if index.shape != z.shape[:1]:
            raise ValueError(f"{len(z)} embeddings need an index of as many, got {tuple(index.shape)}")
        if self.rows and z.shape[1] != self.rows[0].shape[1]:
            raise _widths(self.rows[0].shape[1], z.shape[1])
        count = share_of(self.max_samples, sum(map(len, self.rows)), int(finite.sum()))
        # At least single precision; what came in float32 is kept in it, which loses nothing.
        wide = torch.promote_types(z.dtype, torch.float32)
        self.rows.append(z.detach()[finite][:count].to(wide))
        self.numbers.append(index[finite][:count].to(torch.int64))

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Take in what another metric of this class, or its state, has seen, whatever the maximum."""
        state = self._incoming(incoming_state)
        self.rows = [*self.rows, *state["rows"]]
        self.numbers = [*self.numbers, *state["numbers"]]
        self._computed = None

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None
    ) -> None:
        group = process_group or self.process_group
        # All ranks must send the same type and number of axes, one without rows as well.
        rows = dim_zero_cat(self.rows) if self.rows else torch.empty(0, 0, device=self.device)
        number = dim_zero_cat(self.numbers) if self.numbers else torch.empty(0, device=self.device)
        every = dist_sync_fn(rows.to(torch.float64), group=group)
        numbers = dist_sync_fn(number.to(torch.int64), group=group)
        every = [part for part in every if len(part)]
        for part in every[1:]:
            if part.shape[1] != every[0].shape[1]:
                raise _widths(every[0].shape[1], part.shape[1])
        self.rows, self.numbers = every, numbers

    def kept(self) -> Tensor:
        """(N, K) float64, numbered samples in ascending order and once each.

        Raises:
            ValueError: Nothing has been seen.
        """
        rows = dim_zero_cat(self.rows) if len(self.rows) else torch.empty(0, 0)
        if not len(rows):
            raise ValueError(f"{type(self).__name__} has seen no embeddings: call update first")
        rows, number = rows.to(torch.float64), dim_zero_cat(self.numbers)
        if bool((number < 0).any()):
            return rows
        number, order = number.sort(stable=True)
        first = torch.ones_like(number, dtype=torch.bool)
        first[1:] = number[1:] != number[:-1]
        return rows[order[first]]

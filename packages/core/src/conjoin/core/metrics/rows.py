# SPDX-License-Identifier: Apache-2.0
"""What the measures need that look at rows and not at sums: rows kept over ranks, views kept together.

Distances and leverages are no functions of second moments, so :class:`RowMetric` keeps the rows
themselves, gathers them from all ranks and, where samples are numbered, puts them in the order of their
numbers and keeps each sample once. The result then depends neither on the order in which samples came,
nor on who saw them, nor on the repetitions of samplers that pad. Every rank must have been given at
least one row.
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from conjoin.core.distributed import world_size

__all__ = ("RowMetric", "finite_samples", "share_of")

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
    """How many of the offered samples this rank takes in, so that all ranks keep ``max_samples``."""
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


def blocks(rows: int) -> list[slice]:
    """Slices of ``range(rows)`` whose distances to all rows fit in one block of memory."""
    size = max(BLOCK // max(rows, 1), 1)
    return [slice(start, start + size) for start in range(0, rows, size)]


class RowMetric(Metric):
    """Base: keeps rows (N, K) and their samples' numbers.

    Args:
        max_samples: Rows to look at, over all ranks together; later ones are ignored, because values are
            comparable only at equal N. ``None`` looks at all.
    """

    is_differentiable = False
    higher_is_better: bool | None = None
    full_state_update = False

    rows: list[Tensor]
    numbers: list[Tensor]

    def __init__(self, max_samples: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_samples = check_max_samples(max_samples)
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("numbers", [], dist_reduce_fx="cat")

    def keep(self, z: Tensor, index: Tensor | None) -> None:
        """Take in embeddings ``z`` (N, K) of the samples ``index`` (N,); None numbers none of them.

        Raises:
            ValueError: There is not one number per row.
        """
        finite = finite_samples(z)
        index = torch.full((len(z),), -1, device=z.device) if index is None else index.to(z.device)
        if index.shape != z.shape[:1]:
            raise ValueError(f"{len(z)} embeddings need an index of as many, got {tuple(index.shape)}")
        count = share_of(self.max_samples, sum(map(len, self.rows)), int(finite.sum()))
        # At least single precision; what came in float32 is kept in it, which loses nothing.
        wide = torch.promote_types(z.dtype, torch.float32)
        self.rows.append(z.detach()[finite][:count].to(wide))
        self.numbers.append(index[finite][:count].to(torch.int64))

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

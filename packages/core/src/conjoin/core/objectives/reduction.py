# SPDX-License-Identifier: Apache-2.0
r"""Sums and means over the rows of the *global* batch: how objectives stay exact on many ranks.

Rank ``r`` holds ``n_r`` of the ``N`` rows. An objective here is a function of all ``N`` rows, each rank
returns its value, and the ranks share the work: a rank computes what its own rows contribute and
:func:`global_mean` adds the contributions up. The backward pass of the sum is its adjoint, so
``DistributedDataParallel`` averages to the gradient of one process, also when the ``n_r`` differ. A "mean of
my rows" on each rank would weigh rows of the shorter ranks more.
"""

import torch
from torch import Tensor

from conjoin.core import distributed

__all__ = ("column_sum", "global_mean", "global_rows", "row_range")


@torch.no_grad()
def row_range(rows: Tensor) -> tuple[int, int]:
    """Where this rank's rows stand in the global batch.

    Args:
        rows: (n_r, ...), the rows of this rank.

    Returns:
        Index of its first row in the gathered batch, and the number ``N`` of rows of all ranks.
    """
    if not distributed.is_distributed():
        return 0, rows.shape[0]
    own = torch.tensor([rows.shape[0]], device=rows.device)
    counts = distributed.gather_with_grad(own, even=True).tolist()
    return sum(counts[: distributed.rank()]), sum(counts)


def global_rows(rows: Tensor, at_least: int = 1) -> int:
    """The number of rows of all ranks.

    Args:
        rows: (n_r, ...), the rows of this rank.
        at_least: How many the objective needs.

    Raises:
        ValueError: If there are fewer; on every rank alike.
    """
    total = row_range(rows)[1]
    if total < at_least:
        raise ValueError(
            f"This objective needs at least {at_least} samples in the global batch, found {total}: "
            "use a larger batch or drop the last incomplete one."
        )
    return total


def global_mean(values: Tensor, total: int) -> Tensor:
    """Sum of ``values`` over this rank and all others, divided by ``total``; exact gradients."""
    return distributed.all_reduce_sum(values.sum()) / total


def column_sum(values: Tensor) -> Tensor:
    """Sum over the rows of all ranks: (n_r, ...) to (...), with exact gradients."""
    return distributed.all_reduce_sum(values.sum(dim=0))

# SPDX-License-Identifier: Apache-2.0
r"""Rank correlations: whether one list of numbers orders runs as another does.

Spearman's :math:`\rho` is the correlation of the ranks, ties sharing their mean rank. Kendall's
:math:`\tau_b` counts the pairs in the same order minus those in opposite order, over the geometric mean of
the pairs that are not tied in the one and in the other list.
"""

import torch
from torch import Tensor

__all__ = ("kendall", "spearman")


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(
            "a rank correlation compares two lists of at least 2 numbers, got shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    return a.to(torch.float64), b.to(torch.float64)


def _signs(x: Tensor) -> Tensor:
    """(N, N): -1, 0 or 1 by the order of each pair; infinities equal themselves, and NaN has no order."""
    signs = (x.unsqueeze(1) > x).to(torch.float64) - (x.unsqueeze(1) < x).to(torch.float64)
    return torch.where(x.isnan(), torch.nan, signs)


def kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau-b of two lists (N,), a float64 scalar; NaN if all of a list are tied or one is NaN.

    Raises:
        ValueError: The lists differ in length or have fewer than two entries.
    """
    left, right = map(_signs, _pair(a, b))
    return (left * right).sum() / (left.square().sum() * right.square().sum()).sqrt()


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rho of two lists (N,), a float64 scalar; NaN if all of a list are tied or one is NaN.

    Raises:
        ValueError: The lists differ in length or have fewer than two entries.
    """
    # The sum of a row of signs is twice the rank, centred.
    left, right = (_signs(x).sum(dim=1) for x in _pair(a, b))
    return (left * right).sum() / (left.square().sum() * right.square().sum()).sqrt()

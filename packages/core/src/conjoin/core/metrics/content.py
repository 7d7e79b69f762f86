# SPDX-License-Identifier: Apache-2.0
r"""Content share: how much of the targets' variance differs between samples at the same position.

A JEPA whose targets are functions of position alone has a falling loss, a healthy rank and nothing
learned: the predictor knows every target from where it is. Write the target at position :math:`n`
of sample :math:`b` as :math:`h_{bn}`. By the law of total variance

.. math::

    \operatorname{Var}(h)
    = \mathbb{E}_n \operatorname{Var}_b(h_{bn}) + \operatorname{Var}_n \mathbb{E}_b(h_{bn}),

and the content share is the first term over the left side: 1 when position says nothing, 0 when it
says everything. Variances are summed over the feature axis.

Both estimates are free of small-sample bias. A position seen in :math:`c_n` samples contributes its
sum of squares over :math:`c_n - 1` (a position seen once is left out). The squared grand mean in the
total uses products of *different* samples only: tokens of one sample are correlated, and a plain
``ddof=1`` over tokens would count them as independent. Entries that repeat a position within a sample
(overlapping target blocks) are copies, not evidence, and count once.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ("ContentMoments", "ContentShare", "content_share")

# Below this fraction of the mean square, a variance is the rounding noise of constant targets.
_NOISE = 1e-12


@dataclass(frozen=True)
class ContentMoments:
    """Sums that add up over batches and ranks; N positions, D features, float64.

    Attributes:
        count: Samples per position (N,).
        total: Sum of the targets per position (N, D).
        square: Sum of squared norms per position (N,).
        sample_square: Sum over samples of the squared norm of the sample's own sum, scalar.
        sample_count: Sum over samples of the squared number of its entries, scalar.
    """

    count: Tensor
    total: Tensor
    square: Tensor
    sample_square: Tensor
    sample_count: Tensor

    @classmethod
    def of(cls, targets: Tensor, target_index: Tensor, positions: int) -> "ContentMoments":
        """Sums of one batch.

        Args:
            targets: (B, ..., D), for example (B, M, Kt, D).
            target_index: Position of each target in ``range(positions)``, (B, ...); entries
                below zero are padding and are ignored.
            positions: N.

        Raises:
            ValueError: The shapes do not fit together, or a position is outside the range.
        """
        if targets.shape[:-1] != target_index.shape:
            raise ValueError(
                f"targets {tuple(targets.shape)} need a target_index of shape {tuple(targets.shape[:-1])}, "
                f"got {tuple(target_index.shape)}"
            )
        index = target_index.flatten(1)
        if index.numel() and int(index.max()) >= positions:
            raise ValueError(f"target_index holds {int(index.max())} but there are {positions} positions")
        first = (_first_occurrence(index) & (index >= 0)).to(torch.float64)
        value = targets.detach().flatten(1, -2).to(torch.float64) * first.unsqueeze(-1)
        place = index.clamp(min=0).flatten()

        def per_position(entries: Tensor) -> Tensor:
            return entries.new_zeros(positions, *entries.shape[1:]).index_add_(0, place, entries)

        return cls(
            count=per_position(first.flatten()),
            total=per_position(value.flatten(0, 1)),
            square=per_position(value.square().sum(-1).flatten()),
            sample_square=value.sum(1).square().sum(),
            sample_count=first.sum(1).square().sum(),
        )

    def share(self) -> Tensor:
        """The content share, a float64 scalar; NaN before any position was seen in two samples.

        The estimate is unbiased, not bounded: noise can carry it slightly outside [0, 1].
        """
        twice = self.count >= 2
        seen = torch.where(twice, self.count, 2)
        spread = (self.square - self.total.square().sum(-1) / seen).clamp(min=0) / (seen - 1)
        weight = torch.where(twice, self.count, 0)
        within = (weight * spread).sum() / weight.sum()
        entries = self.count.sum()
        mean_square = self.square.sum() / entries
        pairs = self.total.sum(0).square().sum() - self.sample_square
        total = mean_square - pairs / (entries.square() - self.sample_count)
        constant = (total <= _NOISE * mean_square) & (within <= _NOISE * mean_square)
        return torch.where(constant, 0.0, within / total)


def _first_occurrence(index: Tensor) -> Tensor:
    """(B, L) bool: whether an entry is the first of its value in its row."""
    ordered, order = index.sort(dim=1, stable=True)
    new = torch.ones_like(index, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.zeros_like(new).scatter_(1, order, new)


def content_share(targets: Tensor, target_index: Tensor, positions: int | None = None) -> Tensor:
    """Content share of one batch of targets.

    Args:
        targets: (B, ..., D).
        target_index: (B, ...) positions; below zero means padding.
        positions: How many positions there are; read from ``target_index`` if not given.

    Returns:
        A float64 scalar.
    """
    if positions is None:
        positions = int(target_index.max()) + 1
    return ContentMoments.of(targets, target_index, positions).share()


class ContentShare(Metric):
    """Streaming content share, exact over ranks.

    Targets of one moment of training belong together: a teacher that moves between updates adds
    its movement to the variance between samples.

    Args:
        positions: N, the number of token positions (``prod(encoder.grid)``).
        dim: D, the width of a target.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, positions: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if positions < 1 or dim < 1:
            raise ValueError(f"positions and dim must be positive, got {positions} and {dim}")
        self.positions = positions
        shapes = {"count": (positions,), "total": (positions, dim), "square": (positions,)}
        for field in fields(ContentMoments):
            zero = torch.zeros(shapes.get(field.name, ()), dtype=torch.float64)
            self.add_state(field.name, zero, dist_reduce_fx="sum")

    def update(self, targets: Tensor, target_index: Tensor) -> None:
        """Take in targets (B, ..., D) at the positions ``target_index`` (B, ...)."""
        batch = ContentMoments.of(targets, target_index, self.positions)
        for field in fields(batch):
            setattr(self, field.name, getattr(self, field.name) + getattr(batch, field.name))

    def compute(self) -> Tensor:
        """The share, a float64 scalar."""
        return ContentMoments(
            **{field.name: getattr(self, field.name) for field in fields(ContentMoments)}
        ).share()

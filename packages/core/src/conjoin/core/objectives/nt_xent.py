# SPDX-License-Identifier: Apache-2.0
r"""NT-Xent, the objective of SimCLR.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, arXiv
2002.05709. With rows of unit length, :math:`s_{ij} = u_i \cdot u_j / T` over both views of the global batch
of N samples and :math:`p(i)` the other view of row :math:`i`,

.. math:: L = \frac{1}{N} \sum_{i=1}^{2N} \Bigl( \log \sum_{j \ne i} e^{s_{ij}} - s_{i\,p(i)} \Bigr) .

This is the released code's *sum* of the two directions; the paper's mean over 2N rows is half of it
(``directions="mean"``). More than two views: the mean over all pairs of views. Memory: one matrix of the
rank's 2n rows by 2N, in chunks when that is large.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.similarity import row_logsumexp, self_logsumexp
from conjoin.core.objectives.views import Views, as_views, unit, view_pairs
from conjoin.core.spec import SelfDescribing

__all__ = ("Directions", "NTXent", "check_temperature", "nt_xent")

Directions = Literal["sum", "mean"]


def check_temperature(temperature: float) -> float:
    """The temperature, if it is positive."""
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}.")
    return temperature


def own_columns(rows: Tensor, start: int, total: int) -> Tensor:
    """Columns of this rank's rows of both views among all 2 N: int64 (2n, 1)."""
    place = torch.arange(start, start + rows.shape[0], device=rows.device)
    return torch.cat((place, place + total)).unsqueeze(1)


def pair_similarities(
    a: Tensor, b: Tensor, temperature: float, decoupled: bool = False
) -> tuple[Tensor, Tensor]:
    """Of each row of both views, the log-sum-exp over the others and the similarity to its positive.

    Args:
        a: (n, D), rows of this rank; normalised here.
        b: (n, D), the other view.
        temperature: T.
        decoupled: Leave the positive out of the sum.

    Returns:
        Twice (2n,), rows of ``a`` first.
    """
    rows = unit(torch.cat((a, b)))
    count = a.shape[0]
    own = own_columns(a, *row_range(a))
    positive = torch.cat((own[count:], own[:count]))
    exclude = torch.cat((own, positive), dim=1) if decoupled else own
    if not distributed.is_distributed():
        return self_logsumexp(rows, exclude, positive, scale=1 / temperature)
    everyone = torch.cat([distributed.gather_with_grad(view) for view in (rows[:count], rows[count:])])
    return row_logsumexp(rows, everyone, exclude, positive, scale=1 / temperature)


def nt_xent(views: Sequence[Tensor], temperature: float = 0.1, directions: Directions = "sum") -> Tensor:
    """NT-Xent of V views, each (n, D) rows of this rank; see the module's text.

    Args:
        views: Matrices in float32 or float64.
        temperature: T; 0.5 is common for small images.
        directions: ``"sum"`` as released, ``"mean"`` as in the paper.

    Returns:
        Scalar over the global batch.
    """
    total = row_range(views[0])[1]
    pairs = view_pairs(len(views))
    loss = views[0].new_zeros(())
    for i, j in pairs:
        partition, positive = pair_similarities(views[i], views[j], temperature)
        loss = loss + global_mean(partition - positive, total)
    loss = loss / len(pairs)
    return loss if directions == "sum" else loss / 2


class NTXent(SelfDescribing, nn.Module):
    """Module of :func:`nt_xent`.

    Example:
        >>> round(NTXent(temperature=1.0)(torch.eye(2), torch.eye(2)).loss.item(), 5)
        1.10289
    """

    def __init__(self, temperature: float = 0.1, directions: Directions = "sum") -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        if directions not in get_args(Directions):
            raise ValueError(f"directions must be one of {get_args(Directions)}, not {directions!r}.")
        self.directions: Directions = directions

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D)."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            return ObjectiveOutput(nt_xent(found, self.temperature, self.directions))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"temperature={self.temperature}, directions={self.directions!r}"

# SPDX-License-Identifier: Apache-2.0
r"""Decoupled NT-Xent (DCL): the positive leaves the denominator.

Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, arXiv 2110.06848. In the notation of
:mod:`conjoin.core.objectives.nt_xent`,

.. math:: L = \frac{1}{N} \sum_{i=1}^{2N} \Bigl( \log \sum_{j \ne i, p(i)} e^{s_{ij}}
          - w_i s_{i\,p(i)} \Bigr),

with :math:`w_i = 1`, or for DCLW :math:`w_i = 2 - e^{c_i / \sigma} / \operatorname{mean}_j e^{c_j / \sigma}`
of the positives' cosines :math:`c`, without gradient and with the mean over the global batch. Small batches
learn better, since a row's gradient no longer fades when its positive is found.
"""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from conjoin.core.objectives.nt_xent import Directions, check_temperature, pair_similarities
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.views import Views, as_views, view_pairs
from conjoin.core.spec import SelfDescribing

__all__ = ("DCL", "dcl")


def dcl(
    views: Sequence[Tensor],
    temperature: float = 0.1,
    directions: Directions = "sum",
    weight_sigma: float | None = None,
) -> Tensor:
    """Decoupled NT-Xent of V views, each (n, D) rows of this rank; see the module's text.

    Args:
        views: Matrices in float32 or float64.
        temperature: T.
        directions: ``"sum"`` of the two directions of a pair, or their ``"mean"``.
        weight_sigma: Weigh positives as DCLW does; the paper uses 0.5.

    Returns:
        Scalar over the global batch.

    Raises:
        ValueError: With one sample in the global batch, which has no negatives.
    """
    total = row_range(views[0])[1]
    if total < 2:
        raise ValueError("DCL needs at least 2 samples in the global batch: with one there are no negatives.")
    pairs = view_pairs(len(views))
    loss = views[0].new_zeros(())
    for i, j in pairs:
        partition, positive = pair_similarities(views[i], views[j], temperature, decoupled=True)
        if weight_sigma is not None:
            share = torch.exp((positive.detach() * temperature - 1) / weight_sigma)
            # Both rows of a sample have its cosine: the mean over 2N rows is that over N.
            positive = positive * (2 - share / global_mean(share, 2 * total))
        loss = loss + global_mean(partition - positive, total)
    loss = loss / len(pairs)
    return loss if directions == "sum" else loss / 2


class DCL(SelfDescribing, nn.Module):
    """Module of :func:`dcl`.

    Example:
        >>> loss = DCL(temperature=1.0)(torch.eye(2), torch.eye(2)).loss  # 2 (log(2 e^0) - 1)
        >>> round(loss.item(), 5)
        -0.61371
    """

    def __init__(
        self, temperature: float = 0.1, directions: Directions = "sum", weight_sigma: float | None = None
    ) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        if directions not in get_args(Directions):
            raise ValueError(f"directions must be one of {get_args(Directions)}, not {directions!r}.")
        if weight_sigma is not None and not weight_sigma > 0:
            raise ValueError(f"weight_sigma must be positive, not {weight_sigma}.")
        self.directions: Directions = directions
        self.weight_sigma = weight_sigma

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D)."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            return ObjectiveOutput(dcl(found, self.temperature, self.directions, self.weight_sigma))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"temperature={self.temperature}, directions={self.directions!r}, "
            f"weight_sigma={self.weight_sigma}"
        )

# SPDX-License-Identifier: Apache-2.0
r"""InfoNCE between pairs, and CLIP: the same with a learnable temperature.

van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748;
Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, arXiv
2103.00020. With unit rows :math:`q_i, k_i` of the global batch of N pairs and the scale :math:`\tau`,

.. math:: \operatorname{nce}(q, k) = \frac1N \sum_i \Bigl( \log \sum_j e^{\tau q_i \cdot k_j}
          - \tau q_i \cdot k_i \Bigr), \qquad
          L = \tfrac12 \bigl( \operatorname{nce}(q, k) + \operatorname{nce}(k, q) \bigr) .

Negatives are the other side's rows only, so the two sides may be of different modalities.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.nt_xent import check_temperature
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.similarity import row_and_column_logsumexp, row_logsumexp
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.views import Views, as_views, unit, view_pairs
from conjoin.core.spec import SelfDescribing

__all__ = ("CLIP", "InfoNCE", "cross_entropy_to_own", "info_nce")


def cross_entropy_to_own(queries: Tensor, keys: Tensor, scale: float | Tensor) -> Tensor:
    """One direction: cross-entropy of finding one's own key among the keys of all ranks.

    Args:
        queries: (n, D), unit rows of this rank.
        keys: (n, D), unit rows of this rank; gathered here, with their gradient if they have one.
        scale: Inverse temperature.

    Returns:
        Scalar, the mean over the global batch.
    """
    everyone = distributed.gather_with_grad(keys)
    start, total = row_range(queries)
    own = torch.arange(start, start + queries.shape[0], device=queries.device).unsqueeze(1)
    partition, positive = row_logsumexp(queries, everyone, partner=own, scale=scale)
    return global_mean(partition - positive, total)


def cross_entropy_both_ways(a: Tensor, b: Tensor, scale: float | Tensor) -> Tensor:
    """Mean of :func:`cross_entropy_to_own` from ``a`` to ``b`` and back; one product on one process."""
    if distributed.is_distributed():
        return (cross_entropy_to_own(a, b, scale) + cross_entropy_to_own(b, a, scale)) / 2
    rows, columns, positive = row_and_column_logsumexp(a, b, scale=scale)
    return ((rows + columns) / 2 - positive).mean()


def info_nce(views: Sequence[Tensor], scale: float | Tensor, symmetric: bool = True) -> Tensor:
    """InfoNCE of V views, each (n, D) rows of this rank: the mean over all pairs of views.

    Args:
        views: Matrices in float32 or float64; normalised here.
        scale: Inverse temperature.
        symmetric: Average both directions of a pair; otherwise the earlier view asks the later one.

    Returns:
        Scalar over the global batch.
    """
    units = [unit(view) for view in views]
    pairs = view_pairs(len(views))
    loss = cross_entropy_both_ways if symmetric else cross_entropy_to_own
    losses = [loss(units[i], units[j], scale) for i, j in pairs]
    return torch.stack(losses).mean()


class InfoNCE(SelfDescribing, nn.Module):
    """Module of :func:`info_nce` with a fixed temperature.

    Example:
        >>> round(InfoNCE(temperature=1.0)(torch.eye(2), torch.eye(2)).loss.item(), 5)
        0.31326
    """

    def __init__(self, temperature: float = 0.07, symmetric: bool = True) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.symmetric = symmetric

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D)."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            return ObjectiveOutput(info_nce(found, 1 / self.temperature, self.symmetric))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}"


class CLIP(StatefulObjective):
    """Symmetric :func:`info_nce` whose temperature is learnt.

    The parameter ``log_scale`` is the logarithm of the inverse temperature. As in the release it is kept
    below ``max_scale``: before each forward pass in training mode, or after each step of the optimiser, see
    :class:`StatefulObjective`.

    Example:
        >>> objective = CLIP()
        >>> round(objective(torch.eye(3), torch.eye(3)).terms["temperature"].item(), 2)
        0.07
    """

    def __init__(self, temperature: float = 0.07, max_scale: float = 100.0) -> None:
        super().__init__()
        self.max_scale = max_scale
        if not max_scale >= 1 / check_temperature(temperature):
            raise ValueError(f"max_scale must be at least 1 / temperature, not {max_scale}.")
        # Not a scalar, which FSDP2 could not shard.
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))

    @torch.no_grad()
    def constrain(self) -> None:
        """Cut the scale at its greatest value."""
        self.log_scale.clamp_(max=math.log(self.max_scale))

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D); ``terms`` has the temperature."""
        found = as_views(*views)
        if self.training and not self.deferred:
            self.constrain()
        with torch.autocast(found[0].device.type, enabled=False):
            scale = self.log_scale[0].to(found[0].dtype).exp()
            loss = info_nce(found, scale)
        self.observe()
        return ObjectiveOutput(loss, {"temperature": scale.detach().reciprocal()})

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"max_scale={self.max_scale:g}"

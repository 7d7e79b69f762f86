# SPDX-License-Identifier: Apache-2.0
r"""The spectral contrastive loss.

HaoChen et al., "Provable Guarantees for Self-Supervised Deep Learning with Spectral Contrastive Loss",
NeurIPS 2021, arXiv 2106.04156. Rows longer than :math:`\sqrt\mu` are cut to that length, then

.. math:: L = \frac1\mu \Bigl( -\frac2N \sum_i z_i \cdot z'_i
          + \frac{1}{N(N-1)} \sum_{i \ne j} (z_i \cdot z'_j)^2 \Bigr)

as in the released code: negatives across the two views only. The squares need either the N x N similarities
or, through :math:`\sum_{ij} (z_i \cdot z'_j)^2 = \langle Z^\top Z, Z'^\top Z' \rangle`, two D x D moments;
the smaller is formed. More than two views: the mean over all pairs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, global_rows
from conjoin.core.objectives.views import Views, as_views, view_pairs
from conjoin.core.spec import SelfDescribing

__all__ = ("SpectralContrastive", "clip_norm", "spectral_contrastive")


def clip_norm(z: Tensor, largest: float) -> Tensor:
    """Rows (..., D) longer than ``largest`` are shortened to it, others stay."""
    length: Tensor = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z * (largest / length.clamp_min(largest))


def _squared_similarities(z: Tensor, other: Tensor, total: int) -> Tensor:
    """Sum of (z_i . z'_j)^2 over all i, j of all ranks."""
    if total <= z.shape[1]:
        return distributed.all_reduce_sum((z @ distributed.gather_with_grad(other).T).square().sum())
    first, second = distributed.all_reduce_sum(z.T @ z), distributed.all_reduce_sum(other.T @ other)
    return (first * second).sum()


def spectral_contrastive(views: Sequence[Tensor], mu: float = 1.0) -> tuple[Tensor, Tensor]:
    """Attraction and repulsion of V views, each (n, D) rows of this rank.

    Args:
        views: Matrices in float32 or float64.
        mu: Largest squared length of a row; 10 on ImageNet.

    Returns:
        Both terms, scalars over the global batch.
    """
    total = global_rows(views[0], at_least=2)
    views = [clip_norm(view, mu**0.5) for view in views]
    pairs = view_pairs(len(views))
    attraction = repulsion = views[0].new_zeros(())
    for i, j in pairs:
        positive = (views[i] * views[j]).sum(dim=1)
        attraction = attraction - 2 * global_mean(positive, total)
        own = distributed.all_reduce_sum(positive.square().sum())
        repulsion = repulsion + (_squared_similarities(views[i], views[j], total) - own)
    factor = 1 / (mu * len(pairs))
    return attraction * factor, repulsion * (factor / (total * (total - 1)))


class SpectralContrastive(SelfDescribing, nn.Module):
    """Module of :func:`spectral_contrastive`.

    Example:
        >>> SpectralContrastive()(torch.eye(3), torch.eye(3)).loss.item()
        -2.0
    """

    def __init__(self, mu: float = 1.0) -> None:
        super().__init__()
        if not mu > 0:
            raise ValueError(f"mu must be positive, not {mu}.")
        self.mu = mu

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D); terms ``attraction``, ``repulsion``."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            attraction, repulsion = spectral_contrastive(found, self.mu)
        terms = {"attraction": attraction.detach(), "repulsion": repulsion.detach()}
        return ObjectiveOutput(attraction + repulsion, terms)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"mu={self.mu}"

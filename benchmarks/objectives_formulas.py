# SPDX-License-Identifier: Apache-2.0
"""Papers' formulas written out as their pseudo-code and released code do, for ``objectives.py`` to measure.

Whole matrices, plain autograd, one process. Each function is made from one of our objectives, has its
settings, takes what our objective takes and returns the loss. For the losses that lightly has as well, its
code is the released formula in other words, and only those are here that lightly does not have.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core import objectives as o

__all__ = ("formula_for",)


def _similarity_loss(a: Tensor, b: Tensor, scale: Any, both: bool) -> Tensor:
    """Cross-entropy of the diagonal of a matrix of cosines."""
    logits = scale * F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    own = torch.arange(len(a), device=a.device)
    loss = F.cross_entropy(logits, own)
    return (loss + F.cross_entropy(logits.T, own)) / 2 if both else loss


def _moco(x: o.MoCoV3) -> Callable[..., Tensor]:
    def loss(students: Any, targets: Any) -> Tensor:
        sides = ((students[0], targets[1]), (students[1], targets[0]))
        terms = [_similarity_loss(q, k, 1 / x.temperature, both=False) for q, k in sides]
        return 2 * x.temperature * (terms[0] + terms[1])

    return loss


def _supcon(x: o.SupCon) -> Callable[..., Tensor]:
    def loss(a: Tensor, b: Tensor) -> Tensor:
        rows = F.normalize(torch.cat((a, b)), dim=1)
        logits = rows @ rows.T / x.temperature
        logits = logits - logits.max(dim=1, keepdim=True).values.detach()
        others = 1 - torch.eye(len(rows), device=rows.device)
        partners = torch.eye(len(a), device=rows.device).repeat(2, 2) * others
        log_share = logits - (others * logits.exp()).sum(dim=1, keepdim=True).log()
        return -((partners * log_share).sum(dim=1) / partners.sum(dim=1)).mean()

    return loss


def _spectral(x: o.SpectralContrastive) -> Callable[..., Tensor]:
    def cut(z: Tensor) -> Tensor:
        length = z.norm(dim=1, keepdim=True)
        long = (length > x.mu**0.5).float()
        return long * x.mu**0.5 * F.normalize(z, dim=1) + (1 - long) * z

    def loss(a: Tensor, b: Tensor) -> Tensor:
        a, b = cut(a), cut(b)
        squares = (a @ b.T).square()
        apart = (squares.triu(1) + squares.tril(-1)).mean() * len(a) / (len(a) - 1)
        return (apart - 2 * (a * b).sum(dim=1).mean()) / x.mu

    return loss


def _intl(x: o.INTL) -> Callable[..., Tensor]:
    def whiten(z: Tensor) -> Tensor:
        """Newton steps on the covariance of the rows of z."""
        z = z - z.mean(dim=1, keepdim=True)
        eye = torch.eye(len(z), device=z.device)
        covariance = z @ z.T / (z.shape[1] - 1)
        trace = covariance.trace()
        normed, p = covariance / trace, eye
        for _ in range(x.iterations):
            p = torch.baddbmm(p[None], p.matrix_power(3)[None], normed[None], beta=1.5, alpha=-0.5)[0]
        return p @ z / trace.sqrt()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        rows = [whiten(z if x.axis == 0 else z.T) for z in (a, b)]
        trace = sum((z.var(dim=1) - 1).square().sum() for z in rows)
        first, second = (F.normalize(z if x.axis == 0 else z.T, dim=1) for z in rows)
        return 2 - 2 * (first * second).sum(dim=1).mean() + 0.05 * trace

    return loss


def _latent(x: o.LatentRegression) -> Callable[..., Tensor]:
    def loss(z: Tensor, h: Tensor) -> Tensor:
        return F.smooth_l1_loss(z, F.layer_norm(h, h.shape[-1:]))

    return loss


FORMULAS: dict[type[nn.Module], Callable[[Any], Callable[..., Tensor]]] = {
    o.InfoNCE: lambda x: lambda a, b: _similarity_loss(a, b, 1 / x.temperature, both=True),
    o.CLIP: lambda x: lambda a, b: _similarity_loss(a, b, x.log_scale.exp(), both=True),
    o.SupCon: _supcon,
    o.MoCoV3: _moco,
    o.SpectralContrastive: _spectral,
    o.INTL: _intl,
    o.LatentRegression: _latent,
}


def formula_for(objective: nn.Module) -> Callable[..., Tensor] | None:
    """The formula of one of our objectives, or None if it is not here."""
    maker = FORMULAS.get(type(objective))
    return None if maker is None else maker(objective)

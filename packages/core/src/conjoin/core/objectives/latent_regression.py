# SPDX-License-Identifier: Apache-2.0
r"""Regression of latents: the objective of I-JEPA and of most joint-embedding predictive systems.

With a prediction :math:`z` and a target :math:`h` (a teacher's feature, which receives no gradient),

.. math:: L = \operatorname{mean}\, d\bigl(z,\, n(h)\bigr)

over samples, blocks, tokens and channels, where :math:`n` is a normalisation of the target and
:math:`d` an element-wise distance. I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243) writes the
squared distance in the paper; its released code uses smooth-L1 with layer-normalised targets, and so does
the default here.

``normalization="whiten"`` is of this project, in the spirit of W-MSE (Ermolov et al., ICML 2021, arXiv
2007.06346) but on the targets alone: over all targets of the global batch they are centred and multiplied by
the inverse root of their covariance :math:`C + 0.01 \, \tfrac{\operatorname{tr} C}{D} I`. Every direction of
the features then has to be predicted with equal weight, so that no few loud and easy ones can carry the loss:
the rank of the representation stays up where long runs on small data lose it.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conjoin.core import distributed
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.spec import SelfDescribing

__all__ = ("Distance", "LatentRegression", "Normalization", "latent_regression", "normalize_targets")

Distance = Literal["smooth_l1", "l2", "l1", "cosine"]
Normalization = Literal["layer", "none", "l2", "whiten"]
# Share of the mean variance added to every direction before whitening: bounds the gain of silent ones.
_RIDGE = 0.01


def normalize_targets(
    targets: Tensor, normalization: Normalization = "layer", valid: Tensor | None = None
) -> Tensor:
    """Normalise target features, in float32 or wider.

    Args:
        targets: (..., D).
        normalization: ``"layer"`` is LayerNorm without parameters (eps 1e-5), ``"l2"`` unit length,
            ``"none"`` the features as they are, ``"whiten"`` decorrelates them over all targets of all ranks.
        valid: Booleans (...): which targets whitening learns from; all if not given.

    Returns:
        (..., D).

    Raises:
        ValueError: For an unknown normalisation.
    """
    targets = targets if targets.dtype == torch.float64 else targets.float()
    match normalization:
        case "layer":
            return F.layer_norm(targets, targets.shape[-1:], eps=1e-5)
        case "l2":
            return F.normalize(targets, dim=-1)
        case "none":
            return targets
        case "whiten":
            return _whiten(targets, valid)
    raise ValueError(f"normalization must be one of {get_args(Normalization)}, not {normalization!r}.")


@torch.no_grad()
def _whiten(targets: Tensor, valid: Tensor | None) -> Tensor:
    rows = targets.flatten(0, -2)
    weights = rows.new_ones(len(rows)) if valid is None else valid.flatten().to(rows.dtype)
    count = distributed.all_reduce_sum(weights.sum()).clamp_min(1)
    rows = rows - distributed.all_reduce_sum(weights @ rows) / count
    covariance = distributed.all_reduce_sum((rows * weights[:, None]).T @ rows) / count
    variances, axes = torch.linalg.eigh(covariance)
    floor = _RIDGE * variances.mean() + torch.finfo(rows.dtype).eps
    root = (axes * (variances.clamp_min(0) + floor).rsqrt()) @ axes.T
    whitened: Tensor = (rows @ root).view_as(targets)
    return whitened


def latent_regression(
    predictions: Tensor,
    targets: Tensor,
    valid: Tensor | None = None,
    *,
    distance: Distance = "smooth_l1",
    normalization: Normalization = "layer",
    beta: float = 1.0,
) -> Tensor:
    """Mean distance between predictions and normalised, gradient-free targets.

    Args:
        predictions: (..., D).
        targets: (..., D); detached here.
        valid: Booleans (...), or a shape that broadcasts to it: positions that count. The mean is over these
            alone, of all ranks together.
        distance: ``"smooth_l1"`` (0.5 d^2 / beta below ``beta``, |d| - beta / 2 above), ``"l2"`` (d^2, no
            half), ``"l1"``, or ``"cosine"`` (2 - 2 cos over the channels).
        normalization: See :func:`normalize_targets`.
        beta: Where smooth-L1 turns from quadratic to linear.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes differ, ``valid`` does not fit or an option is unknown.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions {tuple(predictions.shape)} and targets {tuple(targets.shape)} must have the same "
            "shape."
        )
    if valid is not None:
        valid = _expanded(valid, predictions.shape[:-1])
    targets = normalize_targets(targets.detach(), normalization, valid)
    predictions = predictions.to(targets.dtype)
    everything = valid is None and not distributed.is_distributed()
    reduction = "mean" if everything else "none"  # the fused mean keeps no element-wise losses
    match distance:
        case "smooth_l1":
            loss = F.smooth_l1_loss(predictions, targets, beta=beta, reduction=reduction)
        case "l2":
            loss = F.mse_loss(predictions, targets, reduction=reduction)
        case "l1":
            loss = F.l1_loss(predictions, targets, reduction=reduction)
        case "cosine":
            loss = 2 - 2 * F.cosine_similarity(predictions, targets, dim=-1)
            return loss.mean() if everything else _global_mean(loss, valid)
        case _:
            raise ValueError(f"distance must be one of {get_args(Distance)}, not {distance!r}.")
    return loss if everything else _global_mean(loss.mean(dim=-1), valid)


def _expanded(valid: Tensor, shape: torch.Size) -> Tensor:
    """``valid`` in the shape of the positions, so that counting it counts them."""
    sizes = zip(reversed(valid.shape), reversed(shape), strict=False)
    if valid.ndim > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
        raise ValueError(
            f"valid {tuple(valid.shape)} must have one entry per position {tuple(shape)}, the shape of the "
            "predictions without their channels."
        )
    return valid.expand(shape)


def _global_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the valid positions of all ranks, which may hold different numbers of them."""
    weights = torch.ones_like(values) if valid is None else valid.to(values.dtype)
    count = distributed.all_reduce_sum(weights.sum()).clamp_min(1)
    return distributed.all_reduce_sum((values * weights).sum()) / count


class LatentRegression(SelfDescribing, nn.Module):
    """Module of :func:`latent_regression`.

    Example:
        >>> objective = LatentRegression(normalization="none")
        >>> z = torch.tensor([[0.0, 0.5, 3.0]])
        >>> round(objective(z, torch.zeros(1, 3)).loss.item(), 3)
        0.875
    """

    def __init__(
        self, distance: Distance = "smooth_l1", normalization: Normalization = "layer", beta: float = 1.0
    ) -> None:
        super().__init__()
        if distance not in get_args(Distance):
            raise ValueError(f"distance must be one of {get_args(Distance)}, not {distance!r}.")
        if normalization not in get_args(Normalization):
            raise ValueError(
                f"normalization must be one of {get_args(Normalization)}, not {normalization!r}."
            )
        if beta <= 0:
            raise ValueError(f"beta must be positive, not {beta}.")
        self.distance: Distance = distance
        self.normalization: Normalization = normalization
        self.beta = beta

    def forward(self, predictions: Tensor, targets: Tensor, valid: Tensor | None = None) -> ObjectiveOutput:
        """Score (..., D) predictions against (..., D) targets; see :func:`latent_regression`."""
        with torch.autocast(predictions.device.type, enabled=False):
            loss = latent_regression(
                predictions,
                targets,
                valid,
                distance=self.distance,
                normalization=self.normalization,
                beta=self.beta,
            )
        return ObjectiveOutput(loss)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"distance={self.distance!r}, normalization={self.normalization!r}, beta={self.beta}"

# SPDX-License-Identifier: Apache-2.0
r"""Regression of latents: the objective of I-JEPA and of most joint-embedding predictive systems.

With a prediction :math:`z` and a target :math:`h` (a teacher's feature, which receives no gradient),

.. math:: L = \operatorname{mean}\, d\bigl(z,\, n(h)\bigr)

over samples, blocks, tokens and channels, where :math:`n` is a normalisation of the target and
:math:`d` an element-wise distance. I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243) writes the
squared distance in the paper; its released code uses smooth-L1 with layer-normalised targets, and so does
the default here.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conjoin.core.objectives.output import ObjectiveOutput

__all__ = ("Distance", "LatentRegression", "Normalization", "latent_regression", "normalize_targets")

Distance = Literal["smooth_l1", "l2", "l1", "cosine"]
Normalization = Literal["layer", "none", "l2"]


def normalize_targets(targets: Tensor, normalization: Normalization = "layer") -> Tensor:
    """Normalise target features over their channels, in float32 or wider.

    Args:
        targets: (..., D).
        normalization: ``"layer"`` is LayerNorm without parameters (eps 1e-5), ``"l2"`` unit length,
            ``"none"`` the features as they are.

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
    raise ValueError(f"normalization must be one of {get_args(Normalization)}, not {normalization!r}.")


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
        valid: Booleans (...): positions that count. The mean is over these alone.
        distance: ``"smooth_l1"`` (0.5 d^2 / beta below ``beta``, |d| - beta / 2 above), ``"l2"`` (d^2, no
            half), ``"l1"``, or ``"cosine"`` (2 - 2 cos over the channels).
        normalization: See :func:`normalize_targets`.
        beta: Where smooth-L1 turns from quadratic to linear.

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes differ or an option is unknown.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions {tuple(predictions.shape)} and targets {tuple(targets.shape)} must have the same "
            "shape."
        )
    targets = normalize_targets(targets.detach(), normalization)
    predictions = predictions.to(targets.dtype)
    reduction = "mean" if valid is None else "none"
    match distance:
        case "smooth_l1":
            loss = F.smooth_l1_loss(predictions, targets, beta=beta, reduction=reduction)
        case "l2":
            loss = F.mse_loss(predictions, targets, reduction=reduction)
        case "l1":
            loss = F.l1_loss(predictions, targets, reduction=reduction)
        case "cosine":
            loss = 2 - 2 * F.cosine_similarity(predictions, targets, dim=-1)
            return loss.mean() if valid is None else _masked_mean(loss, valid)
        case _:
            raise ValueError(f"distance must be one of {get_args(Distance)}, not {distance!r}.")
    return loss if valid is None else _masked_mean(loss.mean(dim=-1), valid)


def _masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    weights = valid.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp_min(1)


class LatentRegression(nn.Module):
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

# SPDX-License-Identifier: Apache-2.0
r"""Spectral transformations: map the eigenvalues of an embedding's covariance, leave its axes.

Weng et al., "Modulate Your Spectrum in Self-Supervised Learning", ICLR 2024, arXiv 2305.16789. With centred
embeddings and their covariance :math:`\Sigma = U \Lambda U^\top`, the transformed ones are
:math:`\phi(\Sigma)\, \hat Z` for a scalar function :math:`\phi`:

* ``power``: :math:`\phi(\lambda) = (\lambda + \epsilon)^{-p}`. p = 1/2 is (ZCA) whitening, p = 0 centring
  alone.
* ``iternorm``: T Newton steps towards whitening, :math:`P_0 = I`,
  :math:`P_{k+1} = \tfrac32 P_k - \tfrac12 P_k^3 \Sigma_n` with
  :math:`\Sigma_n = \Sigma / \operatorname{tr} \Sigma` and
  :math:`\phi(\Sigma) = P_T / \sqrt{\operatorname{tr} \Sigma}`. The output variance along an axis of
  normalised eigenvalue a is :math:`a\, p_T(a)^2` with :math:`p_{k+1} = \tfrac32 p_k - \tfrac12 p_k^3 a`:
  small ones stay small.

``axis=0``, the release's default, centres each *sample* over its D channels and uses the N x N covariance of
samples; it wants D > N. ``axis=1`` centres each channel over the batch and uses the D x D covariance; it
wants N > D. Keep T at 10 or below: the iteration is unstable beyond.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from conjoin.core import distributed
from conjoin.core.objectives.once import once_differentiable
from conjoin.core.objectives.reduction import row_range

__all__ = ("Transform", "matrix_power", "newton_whitening", "spectral_transform")

Transform = Literal["iternorm", "power"]
# The release divides by the trace as it is; constant embeddings, whose trace is 0, would become NaN.
_TRACE_FLOOR = 1e-12


class _MatrixPower(torch.autograd.Function):
    """``(S + eps)^-p`` by eigenvectors; the gradient by divided differences, exact for equal eigenvalues."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, exponent: float, eps: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        values = values.clamp_min(0) + eps
        ctx.save_for_backward(values, vectors)
        ctx.exponent = exponent
        power: Tensor = (vectors * values.pow(-exponent)) @ vectors.T
        return power

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        values, vectors = ctx.saved_tensors
        p = ctx.exponent
        # (a^-p - b^-p) / (a - b) = -(ab)^(-(p+1)/2) sinh(p d / 2) / sinh(d / 2), d = log(a / b): no
        # difference of near numbers.
        log = values.log()
        half = (log[:, None] - log[None, :]) / 2
        ratio = torch.where(half == 0, p, torch.sinh(p * half) / torch.where(half == 0, 1, torch.sinh(half)))
        kernel = -ratio * torch.exp(-(p + 1) / 2 * (log[:, None] + log[None, :]))
        inner = vectors.T @ ((grad + grad.T) / 2) @ vectors
        return vectors @ (kernel * inner) @ vectors.T, None, None


def matrix_power(matrix: Tensor, exponent: float = 0.5, eps: float = 1e-5) -> Tensor:
    """``(S + eps I)^-exponent`` of a symmetric positive semi-definite (D, D); differentiable once."""
    result: Tensor = _MatrixPower.apply(matrix, exponent, eps)  # type: ignore[no-untyped-call]
    return result


def newton_whitening(matrix: Tensor, iterations: int = 4) -> Tensor:
    """``P_T / sqrt(tr S)`` of a symmetric positive semi-definite S (D, D) after T Newton steps."""
    trace = matrix.trace().clamp_min(_TRACE_FLOOR)
    normed = matrix / trace
    p = torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
    for step in range(iterations):
        # P_0 = I: the first step needs no product.
        p = 1.5 * p - 0.5 * (normed if step == 0 else p @ p @ p @ normed)
    return p / trace.sqrt()


def spectral_transform(
    z: Tensor,
    transform: Transform = "iternorm",
    *,
    axis: Literal[0, 1] = 0,
    iterations: int = 4,
    exponent: float = 0.5,
    eps: float = 1e-5,
) -> Tensor:
    """Transform the spectrum of one view.

    Args:
        z: (n, D), rows of this rank, in float32 or float64.
        transform: ``"iternorm"`` or ``"power"``.
        axis: 0 for the covariance between samples, 1 for that between channels.
        iterations: Newton steps T of ``"iternorm"``.
        exponent: p of ``"power"``.
        eps: Added to the eigenvalues by ``"power"``.

    Returns:
        (n, D), this rank's rows of the transformed global batch; exact gradients.
    """
    start, total = row_range(z)
    if axis == 0:
        z = z - z.mean(dim=1, keepdim=True)
        everyone = distributed.gather_with_grad(z)
        covariance = everyone @ everyone.T / (z.shape[1] - 1)
    else:
        z = z - distributed.all_reduce_sum(z.sum(dim=0)) / total
        everyone = z
        covariance = distributed.all_reduce_sum(z.T @ z) / (total - 1)
    if transform == "power":
        phi = matrix_power(covariance, exponent, eps)
    else:
        phi = newton_whitening(covariance, iterations)
    return phi[start : start + z.shape[0]] @ everyone if axis == 0 else z @ phi

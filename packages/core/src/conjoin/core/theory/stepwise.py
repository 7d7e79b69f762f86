# SPDX-License-Identifier: Apache-2.0
r"""The stepwise model: when a joint embedding learns each of its dimensions, and what it ends with.

Simon, Knutins, Ziyin, Geisz, Fetterman and Albrecht, "On the Stepwise Nature of Self-Supervised Learning",
ICML 2023, arXiv 2303.15438. A linear embedding :math:`f(x) = W x` of n positive pairs under

.. math:: L = \lVert C - I_d \rVert_F^2, \qquad
          C = \frac{1}{2n} \sum_i \bigl( f(x_i) f(x'_i)^\top + f(x'_i) f(x_i)^\top \bigr) = W \Gamma W^\top

(Barlow Twins with lambda 1 and no standardisation) learns the eigenmodes of :math:`\Gamma` one at a time.
Under gradient flow, :math:`\dot W = -4 (W \Gamma W^\top - I) W \Gamma`, from a start in which singular value
:math:`s_j(0)` sits on the eigenvector of :math:`\gamma_j`,

.. math:: s_j(t) = \frac{e^{4 \gamma_j t}}{\sqrt{s_j(0)^{-2} + (e^{8 \gamma_j t} - 1) \gamma_j}} ,
          \qquad L(t) = \sum_{j \le d} (1 - \gamma_j s_j^2)^2 .

A small generic start follows the d leading modes. With a kernel in place of the inner product the same holds
for the eigenvalues of ``kernel_gamma``, and the final embedding is a kernel PCA.

Times belong to this L, without a factor 1/2, and to gradient flow: t is the learning rate times the steps of
full-batch gradient descent. Everything is computed in float64.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = (
    "contrastive_gamma",
    "critical_times",
    "embedding_alignment",
    "final_embedding",
    "kernel_gamma",
    "mode_trajectory",
    "predicted_loss",
    "simulate_flow",
    "stepwise_loss",
)

_NULL = 1e-10  # eigenvalues of a kernel below this share of the largest are rounding


def _check_pairs(x: Tensor, x1: Tensor) -> None:
    if x.ndim != 2 or x.shape != x1.shape or not len(x):
        raise ValueError(
            f"Pairs are two matrices (n, m) with a row at least, not {tuple(x.shape)} and {tuple(x1.shape)}."
        )


def contrastive_gamma(x: Tensor, x1: Tensor) -> Tensor:
    """The symmetrised cross-correlation of positive pairs, Gamma.

    Args:
        x: One view, (n, m).
        x1: The other view of the same samples, (n, m).

    Returns:
        float64 (m, m), symmetric; its eigenvalues may be negative.

    Raises:
        ValueError: If the views differ in shape or have no rows.
    """
    _check_pairs(x, x1)
    cross = x.double().T @ x1.double() / (2 * len(x))
    return cross + cross.T


def _root(kernel: Tensor, power: float) -> Tensor:
    """Pseudo-power of a positive semi-definite matrix: null directions stay null."""
    values, vectors = torch.linalg.eigh(kernel)
    keep = values > _NULL * values[-1]
    root: Tensor = (vectors[:, keep] * values[keep] ** power) @ vectors[:, keep].T
    return root


def _paired(kernel: Tensor) -> Tensor:
    """``kernel`` (2n, 2n) in float64, checked."""
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or len(kernel) % 2 or not len(kernel):
        raise ValueError(
            f"The kernel matrix of n pairs is (2n, 2n): all first views, then all second ones; not "
            f"{tuple(kernel.shape)}."
        )
    return kernel.double()


def kernel_gamma(
    kernel: Tensor | Callable[[Tensor, Tensor], Tensor], x: Tensor | None = None, x1: Tensor | None = None
) -> Tensor:
    r"""Gamma in kernel form: :math:`K^{1/2} S K^{1/2} / 2n`, where S swaps partners; the same eigenvalues.

    Args:
        kernel: (2n, 2n) kernel matrix of the n first views followed by the n second views, or a function
            k(a, b) of points (p, m) and (q, m) that gives their kernel (p, q).
        x: One view (n, m), if ``kernel`` is a function.
        x1: The other view of the same samples (n, m), if ``kernel`` is a function.

    Returns:
        float64 (2n, 2n), symmetric.

    Raises:
        ValueError: If the kernel matrix is not square, of odd size or empty, or if points are given without a
            function or a function without points.
    """
    if isinstance(kernel, Tensor):
        if x is not None or x1 is not None:
            raise ValueError("Points x and x1 go with a kernel function; a kernel matrix says it all.")
    else:
        if x is None or x1 is None:
            raise ValueError("A kernel function needs the points x and x1 of the pairs.")
        _check_pairs(x, x1)
        both = torch.cat((x, x1)).double()
        kernel = kernel(both, both)
    half = _root(_paired(kernel), 0.5)
    swapped = half.roll(len(half) // 2, dims=0)
    return half @ swapped / len(half)


def _positive_start(start: Tensor | float, gamma: Tensor) -> Tensor:
    start = torch.as_tensor(start, dtype=torch.float64, device=gamma.device)
    if not (start > 0).all():
        raise ValueError(
            f"A start is a positive singular value, not {float(start.min()):g}: from 0 nothing grows."
        )
    return start


def mode_trajectory(gamma: Tensor, start: Tensor | float, t: Tensor) -> Tensor:
    """Singular values along the flow.

    Args:
        gamma: Eigenvalues (J,), of any sign.
        start: Singular values at time 0, (J,) or one for all; positive.
        t: Times (T,).

    Returns:
        float64 (T, J). A mode with positive gamma ends at ``gamma ** -0.5``; one with negative gamma decays.

    Raises:
        ValueError: If ``start`` is not positive.
    """
    gamma, t = gamma.double(), t.double().unsqueeze(-1)
    start = _positive_start(start, gamma)
    # Written with the decaying exponential for growing modes, so that nothing overflows: at late times
    # s^-2 = s0^-2 e^(-8 g t) + g (1 - e^(-8 g t)).
    shrink = torch.exp(-8 * gamma * t)
    inverse = shrink / start.square() - gamma * torch.expm1(-8 * gamma * t)
    return inverse.rsqrt()


def critical_times(gamma: Tensor, start: Tensor | float) -> Tensor:
    """When each mode is half learned, ``gamma s^2 = 1/2``.

    Args:
        gamma: Eigenvalues (J,).
        start: Singular values at time 0, (J,) or one for all; positive.

    Returns:
        float64 (J,): infinite for modes that never grow, 0 for those that start beyond the half.

    Raises:
        ValueError: If ``start`` is not positive.
    """
    gamma = gamma.double()
    start = _positive_start(start, gamma)
    share = gamma * start.square()
    # s^-2 = 2 gamma solved for t exactly; the paper's tau is this for share << 1.
    time = torch.log((1 - share) / share) / (8 * gamma)
    return torch.where(gamma > 0, torch.where(share < 0.5, time, 0.0), torch.inf)


def predicted_loss(gamma: Tensor, start: Tensor | float, t: Tensor) -> Tensor:
    """The loss at times (T,) when the modes (J,) are those that the d = J dimensions follow: float64 (T,)."""
    return (1 - gamma.double() * mode_trajectory(gamma, start, t).square()).square().sum(-1)


def stepwise_loss(z: Tensor, z1: Tensor) -> Tensor:
    """The loss of the theory, of embeddings (n, d) of both views; differentiable, in their type."""
    cross = z.T @ z1 / (2 * len(z))
    return (cross + cross.T - torch.eye(z.shape[1], dtype=z.dtype, device=z.device)).square().sum()


def check_times(t: Tensor, steps: int) -> None:
    """Refuse what the rule of Runge and Kutta cannot walk along."""
    if t.ndim != 1 or not len(t) or not (t.diff() >= 0).all() or not t.isfinite().all():
        raise ValueError(f"Times are finite, at least one and in increasing order, not {t.tolist()}.")
    if steps < 1:
        raise ValueError(f"At least one step between two times, not {steps}.")


def simulate_flow(w: Tensor, gamma: Tensor, t: Tensor, steps: int = 100) -> Tensor:
    """Integrate the flow by the classical fourth-order Runge-Kutta rule.

    Args:
        w: Weights at time ``t[0]``, (d, m).
        gamma: The matrix Gamma (m, m).
        t: Increasing times (T,).
        steps: Steps of the rule between two times. Each must be well below ``1 / (8 max |gamma|)``.

    Returns:
        float64 (T, d, m).

    Raises:
        ValueError: If ``steps`` is below 1, the times do not increase or the steps were too long.
    """
    check_times(t, steps)
    w, gamma = w.double(), gamma.double()
    eye = torch.eye(len(w), dtype=torch.float64, device=w.device)

    def slope(w: Tensor) -> Tensor:
        pushed = w @ gamma
        return -4 * (pushed @ w.T - eye) @ pushed

    path = [w]
    for length in t.double().diff().tolist():
        h = length / steps
        for _ in range(steps):
            k1 = slope(w)
            k2 = slope(w + h / 2 * k1)
            k3 = slope(w + h / 2 * k2)
            k4 = slope(w + h * k3)
            w = w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if not w.isfinite().all():
            raise ValueError(
                f"The flow ran away in steps of {h:g}: take more than {steps} between two times."
            )
        path.append(w)
    return torch.stack(path)


def final_embedding(kernel: Tensor, queries: Tensor, dim: int) -> Tensor:
    """What training ends with, in closed form: a kernel PCA with the pairs' own kernel.

    Args:
        kernel: (2n, 2n), see :func:`kernel_gamma`.
        queries: Kernel (Q, 2n) between points to embed and the 2n training points in the same order.
        dim: d; at most the number of positive modes.

    Returns:
        float64 (Q, d), leading mode first, up to a rotation of the d dimensions.

    Raises:
        ValueError: If there are fewer than ``dim`` positive modes: the rest of the loss is never learned.
    """
    kernel = _paired(kernel)
    values, vectors = torch.linalg.eigh(kernel_gamma(kernel))
    positive = int((values > _NULL * values.abs().max()).sum())
    if not 1 <= dim <= positive:
        raise ValueError(
            f"dim must be between 1 and {positive}, the number of positive modes of these pairs, not {dim}."
        )
    lead = slice(len(values) - dim, None)
    axes = (vectors[:, lead] / values[lead].sqrt()).flip(1)
    embedding: Tensor = queries.double() @ _root(kernel, -0.5) @ axes
    return embedding


def embedding_alignment(first: Tensor, second: Tensor) -> Tensor:
    """Overlap of the functions that two embeddings (n, d) of the same points span: in [0, 1], 1 if equal."""
    bases = [torch.linalg.qr(z.double()).Q for z in (first, second)]
    overlap: Tensor = (bases[0].T @ bases[1]).square().sum() / first.shape[1]
    return overlap

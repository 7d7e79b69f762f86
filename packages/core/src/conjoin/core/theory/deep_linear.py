# SPDX-License-Identifier: Apache-2.0
r"""Deep linear networks: latent prediction learns what is predictable, reconstruction what is large.

Littwin, Saremi, Advani, Thilak, Nakkiran, Huang and Susskind, "How JEPA Avoids Noisy Features: The Implicit
Bias of Deep Linear Self Distillation Networks", NeurIPS 2024, arXiv 2407.03475. Views x, y have diagonal
second moments :math:`E x x^\top = \operatorname{diag}(\lambda_i / \rho_i)` and :math:`E y x^\top =
\operatorname{diag}(\lambda_i)`; :math:`\rho` is the regression coefficient of y on x. An encoder of L layers,
:math:`\bar W = W_L \cdots W_1`, and a linear predictor V minimise

.. math:: \tfrac12 E \lVert V \bar W x - \operatorname{SG}(\bar W y) \rVert^2 \ \text{(JEPA)}, \qquad
          \tfrac12 E \lVert V \bar W x - y \rVert^2 \ \text{(MAE)} .

From the balanced start :math:`W_a = V = \epsilon^{1/L} I` each mode moves alone. With w the mode's singular
value of :math:`\bar W`, so that :math:`w(0) = \epsilon`,

.. math:: \dot w = L \lambda \bigl( w^{3 - 1/L} - w^3 / \rho \bigr) \ \text{(JEPA)}, \qquad
          \dot w = L \lambda \bigl( w^{2 - 1/L} - w^3 / \rho \bigr) \ \text{(MAE)} .

Time is that of gradient flow, learning rate times steps; the paper's unit may be L times ours. No teacher
average, weight decay or normalisation: with them the equations do not hold.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.theory.stepwise import check_times

__all__ = (
    "DeepLinear",
    "DeepLinearJEPA",
    "DeepLinearMAE",
    "JEPAFlow",
    "MAEFlow",
    "ModeFlow",
    "dynamic_pairs",
    "static_pairs",
)

_NODES = 64  # of each Gauss-Legendre panel
_PANELS = 32


def _whole(count: float) -> bool:
    return isinstance(count, int) and count >= 1


def _positive(eps: float) -> float:
    if not 0 < eps < math.inf:
        raise ValueError(f"eps, the start, must be positive, not {eps:g}: from 0 nothing is learned.")
    return eps


@dataclass(frozen=True)
class ModeFlow(ABC):
    """One mode of a deep linear network; the subclasses are the two objectives.

    Args:
        lam: Covariance lambda of the mode between the views; positive.
        rho: Regression coefficient lambda / sigma^2; positive, above 1 if y varies more than x.
        depth: Layers L of the encoder.

    Raises:
        ValueError: For a value out of its range.
    """

    lam: float
    rho: float
    depth: int

    def __post_init__(self) -> None:
        if not (0 < self.lam < math.inf and 0 < self.rho < math.inf and _whole(self.depth)):
            raise ValueError(
                f"lam and rho must be positive and depth at least 1, a whole number, not "
                f"{self.lam}, {self.rho}, {self.depth}."
            )

    @abstractmethod
    def rhs(self, w: Tensor) -> Tensor:
        """dw/dt at singular values ``w`` of the encoder, any shape."""

    @abstractmethod
    def fixed_point(self) -> float:
        """Where w ends."""

    @abstractmethod
    def critical_time(self, eps: float) -> float:
        """When a mode that starts at ``eps`` is learned, to leading order as eps goes to 0."""

    def _check(self, w: float, eps: float) -> None:
        if not 0 < eps <= w < self.fixed_point():
            raise ValueError(
                f"A time exists for 0 < eps <= w < fixed point {self.fixed_point():.6g}, not for "
                f"eps={eps:g}, "
                f"w={w:g}."
            )

    def time_to(self, w: float, eps: float) -> float:
        """Time from ``eps`` to ``w``, by Gauss-Legendre quadrature over log w.

        Raises:
            ValueError: If ``w`` is not between ``eps`` and the fixed point.
        """
        self._check(w, eps)
        # In s = log(w / w*) - log(1 - w / w*) the integrand is smooth at both ends.
        end = self.fixed_point()

        def stretch(value: float) -> float:
            return math.log(value / end) - math.log1p(-value / end)

        low, high = stretch(eps), stretch(w)
        edges = torch.linspace(low, high, _PANELS + 1, dtype=torch.float64)
        nodes, weights = _gauss_legendre(_NODES)
        half = (edges[1:] - edges[:-1]).unsqueeze(1) / 2
        s = (edges[1:] + edges[:-1]).unsqueeze(1) / 2 + half * nodes
        share = torch.sigmoid(s)
        w_at = end * share
        slope = end * share * torch.sigmoid(-s)  # dw/ds
        return float((half * weights * slope / self.rhs(w_at)).sum())

    def simulate(self, eps: float, t: Tensor, steps: int = 200) -> Tensor:
        """W at increasing times (T,), from ``eps`` at ``t[0]``, by Runge-Kutta of order four: float64 (T,).

        Args:
            eps: Start.
            t: Times.
            steps: Steps of the rule between two times.

        Raises:
            ValueError: If ``eps`` is not positive, ``steps`` is below 1, the times do not increase or the
                steps were too long.
        """
        check_times(t, steps)
        w = torch.tensor(_positive(eps), dtype=torch.float64)
        path = [w]
        for length in t.double().diff().tolist():
            h = length / steps
            for _ in range(steps):
                k1 = self.rhs(w)
                k2 = self.rhs(w + h / 2 * k1)
                k3 = self.rhs(w + h / 2 * k2)
                k4 = self.rhs(w + h * k3)
                w = w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            if not w.isfinite():
                raise ValueError(
                    f"The flow ran away in steps of {h:g}: take more than {steps} between two times."
                )
            path.append(w)
        return torch.stack(path)


class JEPAFlow(ModeFlow):
    """A mode under latent prediction with a stop-gradient on the target."""

    def rhs(self, w: Tensor) -> Tensor:
        """dw/dt at singular values ``w`` of the encoder, any shape."""
        return self.depth * self.lam * (w ** (3 - 1 / self.depth) - w**3 / self.rho)

    def fixed_point(self) -> float:
        """rho^L."""
        return float(self.rho**self.depth)

    def time_to(self, w: float, eps: float) -> float:
        """Time from ``eps`` to ``w`` in closed form.

        Raises:
            ValueError: If ``w`` is not between ``eps`` and the fixed point.
        """
        self._check(w, eps)
        u0, u = ((value ** (1 / self.depth)) / self.rho for value in (eps, w))
        order = 2 * self.depth - 1
        powers = sum((u0**-k - u**-k) / k for k in range(1, order + 1))
        logs = math.log(u / u0) + math.log1p(-u0) - math.log1p(-u)
        return float(powers + logs) / (self.lam * self.rho**order)

    def critical_time(self, eps: float) -> float:
        """All terms that diverge as a power of ``eps``; the rest grows like its logarithm."""
        _positive(eps)
        terms = range(1, 2 * self.depth)
        return float(
            sum(1 / (n * self.rho ** (2 * self.depth - n - 1) * eps ** (n / self.depth)) for n in terms)
            / self.lam
        )


class MAEFlow(ModeFlow):
    """A mode under reconstruction of y."""

    def rhs(self, w: Tensor) -> Tensor:
        """dw/dt at singular values ``w`` of the encoder, any shape."""
        return self.depth * self.lam * (w ** (2 - 1 / self.depth) - w**3 / self.rho)

    def fixed_point(self) -> float:
        """rho^(L / (L + 1))."""
        return float(self.rho ** (self.depth / (self.depth + 1)))

    def critical_time(self, eps: float) -> float:
        """The leading term: free of rho. For one layer it is a logarithm."""
        _positive(eps)
        if self.depth == 1:
            return math.log(1 / eps) / self.lam
        power = self.depth - 1
        return float(eps ** (-power / self.depth) / (power * self.lam))


def _gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [-1, 1] (Golub and Welsch, 1969)."""
    k = torch.arange(1, count, dtype=torch.float64)
    off = k / (4 * k.square() - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return nodes, 2 * vectors[0].square()


class DeepLinear(nn.Module, ABC):
    """The network of the theory, in full matrices: L square layers and a predictor, balanced at the start.

    Args:
        dim: d.
        depth: Layers L of the encoder.
        eps: Singular values of the product of the encoder's layers at the start.
    """

    def __init__(self, dim: int, depth: int, eps: float = 1e-2) -> None:
        super().__init__()
        if not (_whole(dim) and _whole(depth) and 0 < eps < math.inf):
            raise ValueError(
                f"dim and depth must be at least 1, whole numbers, and eps positive, not {dim}, {depth}, "
                f"{eps}."
            )
        start = torch.eye(dim, dtype=torch.float64) * eps ** (1 / depth)
        self.layers = nn.ParameterList(nn.Parameter(start.clone()) for _ in range(depth))
        self.predictor = nn.Parameter(start.clone())

    def encode(self, x: Tensor) -> Tensor:
        """(N, d) to (N, d), in the type of the weights: float64 unless the module was converted."""
        x = x.to(self.predictor.dtype)
        for weight in self.layers:
            x = x @ weight.T
        return x

    def product(self) -> Tensor:
        """The encoder as one matrix (d, d)."""
        return self.encode(torch.eye(len(self.predictor), dtype=self.predictor.dtype)).T

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss on pairs (N, d), in the type of the weights."""


class DeepLinearJEPA(DeepLinear):
    """Predicts the encoding of y, which receives no gradient."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss on pairs (N, d), in the type of the weights."""
        error = self.encode(x) @ self.predictor.T - self.encode(y).detach()
        return error.square().sum(1).mean() / 2


class DeepLinearMAE(DeepLinear):
    """Predicts y."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss on pairs (N, d), in the type of the weights."""
        return (self.encode(x) @ self.predictor.T - y).square().sum(1).mean() / 2


def _check_variances(signal: Tensor, noise: Tensor) -> None:
    if signal.ndim != 1 or signal.shape != noise.shape:
        raise ValueError(
            "signal and noise are vectors of one length, not of shapes "
            f"{tuple(signal.shape)} and {tuple(noise.shape)}."
        )
    if not ((signal >= 0) & (noise >= 0)).all():
        raise ValueError(f"Variances are not negative, as in {signal.tolist()} and {noise.tolist()}.")


def static_pairs(signal: Tensor, noise: Tensor, count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two noisy looks at one latent: lambda = signal, rho = signal / (signal + noise).

    The paper studies a static and a dynamic linear model; these parametrisations are ours.

    Args:
        signal: Variance of each latent (d,).
        noise: Variance of the noise in each look (d,).
        count: Pairs N.
        seed: Of the draw.

    Returns:
        x, y and the latents, float64 (N, d) each.

    Raises:
        ValueError: If lengths differ or a variance is negative.
    """
    _check_variances(signal, noise)
    keys = random.fold(random.key(seed, "theory/static"), torch.arange(count))
    latent, first, second = random.normal(keys, 3 * len(signal)).double().chunk(3, dim=1)
    latent = latent * signal.double().sqrt()
    scale = noise.double().sqrt()
    return latent + first * scale, latent + second * scale, latent


def dynamic_pairs(
    signal: Tensor, memory: Tensor, noise: Tensor, count: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy looks at two moments of an AR(1) process: lambda = memory signal, sigma^2 = signal + noise.

    Args:
        signal: Stationary variance of each latent (d,).
        memory: Correlation of the latent between the moments (d,), between -1 and 1.
        noise: Variance of the noise in each look (d,).
        count: Pairs N.
        seed: Of the draw.

    Returns:
        x, y and the latents at the first moment, float64 (N, d) each.

    Raises:
        ValueError: If lengths differ, a variance is negative or a memory is outside [-1, 1].
    """
    _check_variances(signal, noise)
    if memory.shape != signal.shape or not (memory.abs() <= 1).all():
        raise ValueError(
            f"memory is a vector as long as signal ({len(signal)}), between -1 and 1, not {memory.tolist()}."
        )
    keys = random.fold(random.key(seed, "theory/dynamic"), torch.arange(count))
    latent, step, first, second = random.normal(keys, 4 * len(signal)).double().chunk(4, dim=1)
    memory = memory.double()
    later = memory * latent + (1 - memory.square()).sqrt() * step
    spread, scale = signal.double().sqrt(), noise.double().sqrt()
    return latent * spread + first * scale, later * spread + second * scale, latent * spread

# SPDX-License-Identifier: Apache-2.0
r"""SIGReg: sketched isotropic Gaussian regularisation, and the objective of LeJEPA.

Balestriero and LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025,
arXiv 2511.08544. Embeddings are projected on M random directions and each projection :math:`x` is tested
against N(0, 1) by the statistic of Epps and Pulley,

.. math:: T(x) = N \int \bigl| \hat\varphi(t) - e^{-t^2/2} \bigr|^2 e^{-t^2/2} \, dt,
          \qquad \hat\varphi(t) = \frac1N \sum_n e^{i t x_n},

by the trapezoid rule on :math:`[-t_{max}, t_{max}]`, of which only ``n_points`` nodes in :math:`[0, t_{max}]`
are computed. SIGReg is the mean over directions and views; N is the number of rows of all ranks. LeJEPA adds
the squared distance of every view to the mean of the global ones:

.. math:: L = \lambda \operatorname{SIGReg} + (1 - \lambda) \operatorname{mean}_{v,n,k} (c_{nk} - z_{vnk})^2 .

Directions depend on (seed, optimiser step) alone: equal on all ranks, new in each step, exact after a resume.
As in the release the statistic is per view; ``pool_views`` tests the views together, as one port does. Sines
and cosines of all nodes come from one pair by angle addition, in chunks of directions. Projections are made
again in the backward pass where M > K, and kept otherwise: memory is that of one chunk or of the embeddings.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from conjoin.core import distributed, random
from conjoin.core.objectives.once import once_differentiable
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.views import Views, as_views

__all__ = ("LeJEPA", "SIGReg", "directions", "epps_pulley", "sigreg")


class _WaveSums(torch.autograd.Function):
    """Sums over rows of cos(j dt x) and sin(j dt x), x = z a^T, j < nodes: z (V, n, K), a (M, K).

    Where M <= K the angles need no more memory than z: made at once, they are kept. Otherwise they are made
    chunk by chunk, and again in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, a: Tensor, nodes: int, dt: float, chunk: int) -> Tensor:
        angles = (z @ a.T).mul_(dt) if a.shape[0] <= a.shape[1] else None
        ctx.save_for_backward(z, a, angles)
        ctx.settings = nodes, dt, chunk
        sums = z.new_zeros(2, nodes, z.shape[0], a.shape[0])
        sums[0, 0] = z.shape[1]
        for start in range(0, a.shape[0], chunk):
            columns = slice(start, start + chunk)
            angle = (z @ a[columns].T).mul_(dt) if angles is None else angles[..., columns]
            cos_1, sin_1 = angle.cos(), angle.sin()
            cos, sin = cos_1, sin_1
            for j in range(1, nodes):
                sums[0, j, :, columns], sums[1, j, :, columns] = cos.sum(dim=1), sin.sum(dim=1)
                if j + 1 < nodes:
                    cos, sin = cos * cos_1 - sin * sin_1, sin * cos_1 + cos * sin_1
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        z, a, angles = ctx.saved_tensors
        nodes, dt, chunk = ctx.settings
        slopes = None if angles is None else torch.empty_like(angles)
        grad_z = z.new_zeros(z.shape) if angles is None else None
        for start in range(0, a.shape[0], chunk):
            columns = slice(start, start + chunk)
            weight = grad[..., columns].unsqueeze(3)  # (2, J, V, 1, m)
            angle = (z @ a[columns].T).mul_(dt) if angles is None else angles[..., columns]
            cos_1, sin_1 = angle.cos(), angle.sin()
            cos, sin = cos_1, sin_1
            total = torch.zeros_like(cos)
            for j in range(1, nodes):
                total.addcmul_(weight[1, j], cos, value=j * dt)
                total.addcmul_(weight[0, j], sin, value=-j * dt)
                if j + 1 < nodes:
                    cos, sin = cos * cos_1 - sin * sin_1, sin * cos_1 + cos * sin_1
            if slopes is not None:
                slopes[..., columns] = total
            elif grad_z is not None:
                grad_z.flatten(0, 1).addmm_(total.flatten(0, 1), a[columns])
        return slopes @ a if slopes is not None else grad_z, None, None, None, None


def epps_pulley(
    z: Tensor, a: Tensor, t_max: float = 3.0, n_points: int = 17, chunk: int | None = None
) -> Tensor:
    """The statistic of each view and direction over the rows of all ranks; differentiable once, in z.

    Args:
        z: (V, n, K), rows of this rank.
        a: (M, K), directions; no gradient.
        t_max: End of the integral.
        n_points: Nodes in [0, t_max].
        chunk: Directions treated at a time; chosen for the device if not given.

    Returns:
        (V, M), the same on all ranks.
    """
    dt = t_max / (n_points - 1)
    if chunk is None:  # about a megabyte stays in a processor's cache; other devices want long kernels
        chunk = max(1, (1 << (18 if z.device.type == "cpu" else 24)) // max(1, z.shape[0] * z.shape[1]))
    total = row_range(z.movedim(1, 0))[1]
    sums = _WaveSums.apply(z, a, n_points, dt, chunk)  # type: ignore[no-untyped-call]
    cos, sin = (distributed.all_reduce_sum(sums) / total).unbind(0)
    t = torch.arange(n_points, dtype=z.dtype, device=z.device) * dt
    gauss = torch.exp(-t.square() / 2)
    weight = 2 * dt * gauss
    # The half line stands for the whole: nodes inside have a mirror image, 0 has none, the end counts half.
    weight = torch.cat((weight[:1] / 2, weight[1:-1], weight[-1:] / 2))
    error = (cos - gauss[:, None, None]).square() + sin.square()
    return total * (weight[:, None, None] * error).sum(dim=0)


def directions(key: int, step: Tensor, count: int, dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random unit vectors (count, dim) of an optimiser step, equal wherever they are drawn."""
    numbers = torch.arange(count, device=step.device) + step * count
    # A few at a time, so that what a draw needs in between stays in a processor's cache.
    rows = max(1, (1 << (17 if step.device.type == "cpu" else 24)) // dim)
    return torch.cat(
        [
            torch.nn.functional.normalize(random.normal(random.fold(key, part), dim), dim=1).to(dtype)
            for part in torch.split(numbers, rows)
        ]
    )


def sigreg(
    views: Sequence[Tensor],
    a: Tensor,
    t_max: float = 3.0,
    n_points: int = 17,
    pool_views: bool = False,
    chunk: int | None = None,
) -> Tensor:
    """Mean of :func:`epps_pulley` over views (each (n, K), rows of this rank) and directions ``a`` (M, K)."""
    z = torch.cat(list(views)).unsqueeze(0) if pool_views else torch.stack(list(views))
    return epps_pulley(z, a.to(z.dtype), t_max, n_points, chunk).mean()


class SIGReg(StatefulObjective):
    """Module of :func:`sigreg`; one view is enough.

    Args:
        slices: Directions M per step.
        t_max: End of the integral.
        n_points: Nodes in [0, t_max].
        pool_views: One test over the rows of all views instead of one per view.
        seed: Of the directions; the run's seed if not given.
        chunk: Directions treated at a time; chosen for the device if not given.
    """

    def __init__(
        self,
        slices: int = 1024,
        t_max: float = 3.0,
        n_points: int = 17,
        pool_views: bool = False,
        seed: int | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        if slices < 1 or t_max <= 0 or n_points < 2 or (chunk is not None and chunk < 1):
            raise ValueError(
                "slices and chunk must be at least 1, t_max positive and n_points at least 2, not "
                f"{slices}, {chunk}, {t_max}, {n_points}."
            )
        self.slices = slices
        self.t_max = t_max
        self.n_points = n_points
        self.pool_views = pool_views
        self.chunk = chunk
        self.key = random.key(random.default_seed() if seed is None else seed, "sigreg")

    def regularise(self, views: Sequence[Tensor]) -> Tensor:
        """SIGReg of views (n, K) in full precision under the directions of this step."""
        a = directions(self.key, self.steps, self.slices, views[0].shape[1], views[0].dtype)
        return sigreg(views, a, self.t_max, self.n_points, self.pool_views, self.chunk)

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, K), one by one or as a stack (V, N, K)."""
        found = as_views(*views, at_least=1)
        with torch.autocast(found[0].device.type, enabled=False):
            loss = self.regularise(found)
        self.observe()
        return ObjectiveOutput(loss)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"slices={self.slices}, t_max={self.t_max}, n_points={self.n_points}, "
            f"pool_views={self.pool_views}"
        )


class LeJEPA(SIGReg):
    """SIGReg and invariance to the mean of the global views, without teacher or stop-gradient.

    Args:
        weight: Lambda, the share of SIGReg; 0.01 to 0.1 is the useful range.
        global_views: How many of the first views are global; all if not given.
        slices: See :class:`SIGReg`, as the others.
        t_max: See :class:`SIGReg`.
        n_points: See :class:`SIGReg`.
        pool_views: See :class:`SIGReg`.
        seed: See :class:`SIGReg`.
        chunk: See :class:`SIGReg`.
    """

    def __init__(
        self,
        weight: float = 0.05,
        global_views: int | None = None,
        slices: int = 1024,
        t_max: float = 3.0,
        n_points: int = 17,
        pool_views: bool = False,
        seed: int | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(slices, t_max, n_points, pool_views, seed, chunk)
        if not 0 <= weight <= 1 or (global_views is not None and global_views < 1):
            raise ValueError(
                f"weight must be in [0, 1] and global_views at least 1, not {weight}, {global_views}."
            )
        self.weight = weight
        self.global_views = global_views

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, K), global ones first; terms ``sigreg`` and ``invariance`` with their weights."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            gauss = self.weight * self.regularise(found)
            z = torch.stack(found)
            distance = (z[: self.global_views].mean(dim=0) - z).square().mean(dim=(0, 2))
            invariance = (1 - self.weight) * global_mean(distance, row_range(found[0])[1])
        self.observe()
        return ObjectiveOutput(
            gauss + invariance, {"sigreg": gauss.detach(), "invariance": invariance.detach()}
        )

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"weight={self.weight}, global_views={self.global_views}, {super().extra_repr()}"

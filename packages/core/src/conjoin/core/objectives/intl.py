# SPDX-License-Identifier: Apache-2.0
r"""INTL: alignment after a spectral transformation, with a loss on the transformed variances.

Weng et al., "Modulate Your Spectrum in Self-Supervised Learning", ICLR 2024, arXiv 2305.16789. With t the
transformed views (:mod:`conjoin.core.objectives.spectral_transform`),

.. math:: L = \operatorname{mean}_{v \ge 1} \bigl\{ 2 - 2 \operatorname{mean}_i \cos(t_{vi}, t_{0i})
          + \beta (\operatorname{TL}_v + \operatorname{TL}_0) \bigr\}, \qquad
          \operatorname{TL} = \sum_j (\operatorname{var}_j t - 1)^2 .

j runs over the transformed coordinates (variances with ddof 1): samples for ``axis=0``, channels for
``axis=1``. Both sides get a gradient. :math:`\beta = 0.01 (\log_2 m - 3)` with m the global batch
(``axis=0``) or the width (``axis=1``). A view of a momentum encoder as ``target`` makes it INTL_M: that view
is t_0, gets no gradient and no TL. ``transform="power"`` with beta 0 is the rest of the family, whitening
included.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import column_sum, global_mean, global_rows
from conjoin.core.objectives.spectral_transform import Transform, spectral_transform
from conjoin.core.objectives.views import Views, as_views, row_cosine
from conjoin.core.spec import SelfDescribing

__all__ = ("INTL", "trace_loss", "trade_off")


def trade_off(size: int) -> float:
    """Weight of the trace loss for ``size`` transformed coordinates: 0.05 for 256, 0 up to 8."""
    return max(0.0, 0.01 * (math.log2(size) - 3))


def trace_loss(t: Tensor, axis: Literal[0, 1], total: int) -> Tensor:
    """Sum over coordinates of ``(variance - 1)^2`` of a transformed view (n, D), rows of this rank.

    Args:
        t: Transformed view, centred along the axis by its transformation.
        axis: 0: a coordinate is a sample, its variance is over channels. 1: the other way round.
        total: Rows of all ranks.

    Returns:
        Scalar over the global batch.
    """
    if axis == 0:
        return global_mean((t.var(dim=1) - 1).square(), 1)
    return (column_sum(t.square()) / (total - 1) - 1).square().sum()


class INTL(SelfDescribing, nn.Module):
    """Spectral transformation, alignment and trace loss.

    Args:
        beta: Weight of the trace loss; :func:`trade_off` of each call's size if not given. The release
            takes it from the configured global batch size, which differs for a last incomplete batch.
        axis: See :func:`spectral_transform`, as the following.
        transform: See :func:`spectral_transform`.
        iterations: See :func:`spectral_transform`.
        exponent: See :func:`spectral_transform`.
        eps: See :func:`spectral_transform`.
    """

    def __init__(
        self,
        beta: float | None = None,
        axis: Literal[0, 1] = 0,
        transform: Transform = "iternorm",
        iterations: int = 4,
        exponent: float = 0.5,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if axis not in (0, 1):
            raise ValueError(f"axis must be 0 (samples) or 1 (channels), not {axis}.")
        if transform not in get_args(Transform):
            raise ValueError(f"transform must be one of {get_args(Transform)}, not {transform!r}.")
        if not 0 <= iterations <= 10:
            raise ValueError(
                f"iterations must be between 0 and 10, not {iterations}: the iteration is unstable beyond."
            )
        if eps <= 0:
            raise ValueError(f"eps must be positive, not {eps}.")
        self.beta = beta
        self.axis: Literal[0, 1] = axis
        self.transform: Transform = transform
        self.iterations = iterations
        self.exponent = exponent
        self.eps = eps

    def forward(self, *views: Views, target: Tensor | None = None) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D), against the first of them or ``target``.

        Returns:
            Loss, and terms ``alignment`` and ``trace`` with their weights.

        Raises:
            ValueError: If shapes differ, or for one sample in the global batch.
        """
        found = as_views(*views, at_least=1 if target is not None else 2)
        total = global_rows(found[0], at_least=2)
        beta = trade_off(total if self.axis == 0 else found[0].shape[1]) if self.beta is None else self.beta
        if target is not None:
            if target.shape != found[0].shape:
                raise ValueError(
                    f"target {tuple(target.shape)} must have the shape of the views {tuple(found[0].shape)}."
                )
            found = [target.detach().to(found[0].dtype), *found]
        with torch.autocast(found[0].device.type, enabled=False):
            aligned, traces = self._terms(found, total)
            trace = torch.stack(traces[1:]).mean()
            trace = beta * (trace if target is not None else trace + traces[0])
        return ObjectiveOutput(aligned + trace, {"alignment": aligned.detach(), "trace": trace.detach()})

    def _terms(self, views: Sequence[Tensor], total: int) -> tuple[Tensor, list[Tensor]]:
        transformed = [
            spectral_transform(
                view,
                self.transform,
                axis=self.axis,
                iterations=self.iterations,
                exponent=self.exponent,
                eps=self.eps,
            )
            for view in views
        ]
        first, *others = transformed
        cosines = torch.stack([row_cosine(first, other) for other in others])
        aligned = 2 - 2 * global_mean(cosines, total * len(others))
        return aligned, [trace_loss(t, self.axis, total) for t in transformed]

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"beta={self.beta}, axis={self.axis}, transform={self.transform!r}, "
            f"iterations={self.iterations}, exponent={self.exponent}, eps={self.eps}"
        )

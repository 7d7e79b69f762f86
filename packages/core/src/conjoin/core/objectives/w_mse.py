# SPDX-License-Identifier: Apache-2.0
r"""W-MSE: distance between whitened views.

Ermolov et al., "Whitening for Self-Supervised Representation Learning", ICML 2021, arXiv 2007.06346. A random
permutation, shared by the views, cuts the global batch into groups of ``group`` rows; in each, every view is
centred and multiplied by the inverse of the lower Cholesky factor of :math:`(1 - \epsilon)\, C + \epsilon I`
(C with ddof 1), so the order of the dimensions matters (it is not ZCA). The loss is the mean over pairs of
views of

.. math:: \operatorname{mean}_i \bigl( 2 - 2 \cos(w_i, w'_i) \bigr),

or of the plain squared difference (``normalize=False``), averaged over ``iterations`` permutations. No
stop-gradient.

Deviations: the release whitens on each device alone; here groups are drawn from the rows of all ranks. It
asks for batches that are multiples of the group; here as many groups of equal size as fit are made, and at
most ``group`` - 1 rows, chosen by the permutation, wait for another step. Permutations depend on (seed,
optimiser step) alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from conjoin.core import distributed, random
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_rows
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.views import Views, as_views, row_cosine, view_pairs

__all__ = ("WMSE", "cholesky_whitening", "w_mse")


def cholesky_whitening(x: Tensor, eps: float = 0.0) -> Tensor:
    """Whiten (..., w, D) over its rows: covariance (ddof 1) of the output is the identity for eps 0.

    Raises:
        torch.linalg.LinAlgError: If the covariance is singular; ``eps`` above 0 avoids it.
    """
    x = x - x.mean(dim=-2, keepdim=True)
    covariance = x.mT @ x / (x.shape[-2] - 1)
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    factor = torch.linalg.cholesky((1 - eps) * covariance + eps * eye)
    whitened: Tensor = torch.linalg.solve_triangular(factor, x.mT, upper=False)
    return whitened.mT


def w_mse(
    views: Sequence[Tensor], order: Tensor, group: int = 128, eps: float = 0.0, normalize: bool = True
) -> Tensor:
    """W-MSE of V views for one or several permutations.

    Args:
        views: (n, D) each, rows of this rank in float32 or float64.
        order: int64 (iterations, N), permutations of the global batch.
        group: Rows that are whitened together; all, if there are fewer.
        eps: Weight of the identity in the covariance.
        normalize: Compare directions; otherwise the mean squared difference over rows and columns.

    Returns:
        Scalar over the global batch.

    Raises:
        ValueError: If a group has too few rows for its covariance to be regular and eps is 0.
    """
    total, dim = order.shape[1], views[0].shape[1]
    size = total // max(1, total // group)
    if size < 2 or (size <= dim and eps == 0):
        raise ValueError(
            f"Whitening {dim} dimensions needs groups of more than {dim} samples, found {size}: use a larger "
            "batch and group, a narrower embedding, or eps above 0."
        )
    rows = order[:, : total // size * size].reshape(-1, size)
    whitened = [cholesky_whitening(distributed.gather_with_grad(view)[rows], eps) for view in views]
    if normalize:
        losses = [2 - 2 * row_cosine(whitened[i], whitened[j]).mean() for i, j in view_pairs(len(views))]
    else:
        losses = [(whitened[i] - whitened[j]).square().mean() for i, j in view_pairs(len(views))]
    return torch.stack(losses).mean()


class WMSE(StatefulObjective):
    """Module of :func:`w_mse`.

    Args:
        group: Rows that are whitened together, at least twice the width of the embedding.
        iterations: Permutations per step.
        eps: Weight of the identity in the covariance; 0 as released.
        normalize: Compare directions.
        seed: Of the permutations; the run's seed if not given.
    """

    def __init__(
        self,
        group: int = 128,
        iterations: int = 1,
        eps: float = 0.0,
        normalize: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if group < 2 or iterations < 1 or not 0 <= eps < 1:
            raise ValueError(
                f"group must be at least 2, iterations at least 1 and eps in [0, 1), not {group}, "
                f"{iterations}, {eps}."
            )
        self.group = group
        self.iterations = iterations
        self.eps = eps
        self.normalize = normalize
        self.key = random.key(random.default_seed() if seed is None else seed, "w-mse")

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D)."""
        found = as_views(*views)
        total = global_rows(found[0], at_least=2)
        numbers = torch.arange(self.iterations, device=self.steps.device) + self.steps * self.iterations
        order = random.permutation(random.fold(self.key, numbers), total)
        with torch.autocast(found[0].device.type, enabled=False):
            loss = w_mse(found, order, self.group, self.eps, self.normalize)
        self.observe()
        return ObjectiveOutput(loss)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"group={self.group}, iterations={self.iterations}, eps={self.eps}, normalize={self.normalize}"

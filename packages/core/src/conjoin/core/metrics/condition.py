# SPDX-License-Identifier: Apache-2.0
r"""Pseudo-condition number: the longest axis of the embeddings over the shortest.

Tsitsulin et al., "Unsupervised embedding quality evaluation", arXiv 2305.16562:

.. math:: \kappa = \sigma_1 / \sigma_{\min(N, K)},

1 when all axes are equal. A dead direction makes it infinite, on purpose: the pseudo-inverse's reading,
:math:`\sigma_1 / \sigma_r` at rank r, forgets exactly the directions that have collapsed. The route by second
moments counts singular values below about ``1e-8`` of the largest as dead.
"""

import torch
from torch import Tensor

from conjoin.core.metrics.representation import _MomentMetric
from conjoin.core.metrics.spectrum import some_singular_values

__all__ = ("PseudoConditionNumber", "pseudo_condition_number")


def pseudo_condition_number(z: Tensor) -> Tensor:
    """Largest over smallest singular value of ``z`` (N, K), float64; infinite if the smallest is zero.

    Raises:
        ValueError: There is no row.
    """
    return _ratio(some_singular_values(z, "a condition number"))


def _ratio(sigma: Tensor) -> Tensor:
    return torch.where(sigma[-1] > 0, sigma[0] / sigma[-1], torch.inf)


class PseudoConditionNumber(_MomentMetric):
    """Streaming :func:`~conjoin.core.metrics.pseudo_condition_number`, exact over ranks."""

    higher_is_better = False

    def compute(self) -> Tensor:
        """The value, a float64 scalar."""
        return _ratio(self._singular_values())

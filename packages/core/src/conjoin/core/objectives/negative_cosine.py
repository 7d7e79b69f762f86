# SPDX-License-Identifier: Apache-2.0
r"""Negative cosine between a prediction and a gradient-free target: BYOL and SimSiam.

Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, arXiv 2006.07733; Chen and He, "Exploring Simple
Siamese Representation Learning", CVPR 2021, arXiv 2011.10566. With unit rows,

.. math:: L_\text{BYOL} = \operatorname{mean} (2 - 2\, q_1 \cdot t_2)
          + \operatorname{mean} (2 - 2\, q_2 \cdot t_1),
          \qquad
          L_\text{SimSiam} = -\tfrac12 \bigl( \operatorname{mean} p_1 \cdot z_2
          + \operatorname{mean} p_2 \cdot z_1 \bigr) .

BYOL *sums* its two directions (averaging them, as some reimplementations did, halves the learning rate
under SGD); SimSiam averages. More than two views: BYOL is twice the mean over directions.
"""

import torch
from torch import Tensor, nn

from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.views import Views, as_pairs, row_cosine
from conjoin.core.spec import SelfDescribing

__all__ = ("BYOL", "SimSiam", "negative_cosine")


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Minus the mean cosine of rows (n, D) of this rank over the global batch; targets get no gradient."""
    total = row_range(predictions)[1]
    return -global_mean(row_cosine(predictions, targets.detach()), total)


def _mean_over_directions(students: Views, targets: Views) -> tuple[Tensor, int]:
    own, others, pairs = as_pairs(students, targets)
    with torch.autocast(own[0].device.type, enabled=False):
        return torch.stack([negative_cosine(own[i], others[j]) for i, j in pairs]).mean(), len(pairs)


class BYOL(SelfDescribing, nn.Module):
    """Sum over both directions of the squared distance of unit rows, ``2 - 2 cos``.

    Two matrices are one direction alone.

    Example:
        >>> q = torch.eye(2).expand(2, 2, 2)
        >>> BYOL()(q, -q).loss.item()
        8.0
    """

    def forward(self, students: Views, targets: Views) -> ObjectiveOutput:
        """Score predictions against targets, (N, D) or stacks; see :mod:`conjoin.core.objectives`."""
        mean, directions = _mean_over_directions(students, targets)
        return ObjectiveOutput((2 + 2 * mean) * min(2, directions))


class SimSiam(SelfDescribing, nn.Module):
    """Mean over directions of :func:`negative_cosine`, between -1 and 1.

    Example:
        >>> p = torch.eye(2).expand(2, 2, 2)
        >>> SimSiam()(p, p).loss.item()
        -1.0
    """

    def forward(self, students: Views, targets: Views) -> ObjectiveOutput:
        """Score predictions against targets, (N, D) or stacks; see :mod:`conjoin.core.objectives`."""
        return ObjectiveOutput(_mean_over_directions(students, targets)[0])

# SPDX-License-Identifier: Apache-2.0
r"""The contrastive loss of MoCo v3.

Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021, arXiv
2104.02057. Queries come from the student's predictor, keys from the momentum encoder without gradient; the
keys of all ranks are the negatives, there is no queue. With :math:`\operatorname{nce}` of
:mod:`conjoin.core.objectives.info_nce`,

.. math:: L = 2T \bigl( \operatorname{nce}(q_1, k_2) + \operatorname{nce}(q_2, k_1) \bigr) .

T is 1 for ResNets and 0.2 for vision transformers. More than two views: the sum becomes twice the mean over
directions. Two matrices are one direction alone, without the other's term.
"""

import torch
from torch import Tensor, nn

from conjoin.core.objectives.info_nce import cross_entropy_to_own
from conjoin.core.objectives.nt_xent import check_temperature
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.views import Views, as_pairs, unit
from conjoin.core.spec import SelfDescribing

__all__ = ("MoCoV3", "moco_v3")


def moco_v3(queries: Tensor, keys: Tensor, temperature: float = 1.0) -> Tensor:
    """One direction, ``2T nce``: queries and keys (n, D), rows of this rank; keys get no gradient."""
    return 2 * temperature * cross_entropy_to_own(unit(queries), unit(keys.detach()), 1 / temperature)


class MoCoV3(SelfDescribing, nn.Module):
    """Symmetric :func:`moco_v3`.

    Example:
        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> round(MoCoV3()(z, z).loss.item(), 5)
        1.25305
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, students: Views, targets: Views) -> ObjectiveOutput:
        """Score queries against keys, (N, D) or stacks of them; see :mod:`conjoin.core.objectives`."""
        own, others, pairs = as_pairs(students, targets)
        with torch.autocast(own[0].device.type, enabled=False):
            losses = [moco_v3(own[i], others[j], self.temperature) for i, j in pairs]
            loss = torch.stack(losses).mean() * min(2, len(pairs))
        return ObjectiveOutput(loss)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"temperature={self.temperature}"

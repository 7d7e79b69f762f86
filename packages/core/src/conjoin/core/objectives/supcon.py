# SPDX-License-Identifier: Apache-2.0
r"""SupCon: contrastive learning whose positives are all rows of the same label.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, arXiv 2004.11362, the form with the sum
outside the logarithm. Over all VN unit rows of the global batch, with
:math:`P(i)` the other rows of the label of :math:`i`,

.. math:: L = \frac{T}{T_0} \frac{1}{VN} \sum_i \Bigl( \log \sum_{j \ne i} e^{s_{ij}}
          - \frac{1}{|P(i)|} \sum_{p \in P(i)} s_{ip} \Bigr) .

:math:`T / T_0` is 1 in the release. Without labels each sample is its own class; two views then give half of
the released NT-Xent. The sum over positives is taken from the sum of each class, so no mask of N x N is made.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.nt_xent import check_temperature
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.similarity import row_logsumexp, self_logsumexp
from conjoin.core.objectives.views import Views, as_views, unit
from conjoin.core.spec import SelfDescribing

__all__ = ("SupCon", "supcon")


def _groups(labels: Tensor) -> Tensor:
    """Number the distinct labels (M,) from 0, without a shape that depends on the data."""
    ordered, order = labels.sort(stable=True)
    fresh = torch.cat(
        (ordered.new_zeros(1, dtype=torch.int64), (ordered[1:] != ordered[:-1]).to(torch.int64))
    )
    return torch.empty_like(order).scatter_(0, order, fresh.cumsum(0))


def supcon(
    views: Sequence[Tensor],
    labels: Tensor | None = None,
    temperature: float = 0.07,
    base_temperature: float | None = None,
) -> Tensor:
    """SupCon of V views, each (n, D) rows of this rank; see the module's text.

    Args:
        views: Matrices in float32 or float64; normalised here.
        labels: (n,) integers, equal for samples that belong together; every sample alone if not given.
        temperature: T.
        base_temperature: T_0; T if not given.

    Returns:
        Scalar over the global batch.

    Raises:
        ValueError: If there is not one label per sample.
    """
    count, rows = len(views), views[0].shape[0]
    start, total = row_range(views[0])
    place = torch.arange(start, start + rows, device=views[0].device)
    if labels is not None and labels.shape != (rows,):
        raise ValueError(f"labels must have shape ({rows},), not {tuple(labels.shape)}.")
    everyone_labels = (
        torch.arange(total, device=place.device) if labels is None else distributed.gather_rows(labels)
    )
    units = [unit(view) for view in views]
    own = torch.cat(units)
    alone = not distributed.is_distributed()
    everyone = own if alone else torch.cat([distributed.gather_with_grad(view) for view in units])
    columns = torch.cat([place + v * total for v in range(count)])
    group = _groups(everyone_labels).repeat(count)
    sums = torch.zeros_like(everyone).index_add(0, group, everyone)
    sizes = torch.zeros_like(everyone[:, 0]).index_add(0, group, torch.ones_like(everyone[:, 0]))
    mine = group[columns]
    # A row's own product is among those of its class: taken out again.
    others = (sums[mine] - own) / (sizes[mine] - 1).unsqueeze(1)
    exclude, scale = columns.unsqueeze(1), 1 / temperature
    if alone:
        partition, _ = self_logsumexp(own, exclude, scale=scale)
    else:
        partition, _ = row_logsumexp(own, everyone, exclude, scale=scale)
    loss = global_mean(partition - (own * others).sum(dim=1) / temperature, count * total)
    return loss if base_temperature is None else loss * (temperature / base_temperature)


class SupCon(SelfDescribing, nn.Module):
    """Module of :func:`supcon`.

    Example:
        >>> z = torch.eye(2)
        >>> round(SupCon(temperature=1.0)(z, z, labels=torch.tensor([0, 0])).loss.item(), 4)
        1.2181
    """

    def __init__(self, temperature: float = 0.07, base_temperature: float | None = None) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.base_temperature = None if base_temperature is None else check_temperature(base_temperature)

    def forward(self, *views: Views, labels: Tensor | None = None) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D), of samples with ``labels`` (N,)."""
        found = as_views(*views)
        with torch.autocast(found[0].device.type, enabled=False):
            return ObjectiveOutput(supcon(found, labels, self.temperature, self.base_temperature))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"temperature={self.temperature}, base_temperature={self.base_temperature}"

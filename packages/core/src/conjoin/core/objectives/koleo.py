# SPDX-License-Identifier: Apache-2.0
r"""KoLeo: embeddings shall keep away from their nearest neighbours.

Sablayrolles et al., "Spreading vectors for similarity search", ICLR 2019, arXiv 1806.03198; as used by DINOv2
(Oquab et al., 2023, arXiv 2304.07193). With unit rows x of one view and :math:`\nu(i)` the other row of
largest cosine,

.. math:: L = - \frac1N \sum_i \log \bigl( \| x_i - x_{\nu(i)} \| + \epsilon \bigr),

summed over the views, each by itself: two views of an image are not to repel each other.
:math:`\epsilon = 10^{-8}`. Neighbours are sought among the rows of all ranks, in chunks; ``local=True`` seeks
them on each rank alone, as the release does, and then the value depends on the number of ranks.
"""

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.views import Views, as_views, unit
from conjoin.core.spec import SelfDescribing

__all__ = ("KoLeo", "koleo", "nearest_other")


@torch.no_grad()
def nearest_other(rows: Tensor, everyone: Tensor, start: int, limit: int = 1 << 24) -> Tensor:
    """Index of the nearest row by dot product that is not the row itself.

    Args:
        rows: (n, D).
        everyone: (N, D), of which ``rows`` are those from ``start`` on.
        start: First own row.
        limit: Entries of the similarity matrix in memory at a time.

    Returns:
        int64 (n,).
    """
    chunk = max(1, limit // everyone.shape[0])
    found = []
    for i in range(0, rows.shape[0], chunk):
        similarity = rows[i : i + chunk] @ everyone.T
        similarity.diagonal(start + i).fill_(-torch.inf)
        found.append(similarity.argmax(dim=1))
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64, device=rows.device)


def koleo(z: Tensor, eps: float = 1e-8, local: bool = False) -> Tensor:
    """KoLeo of one view (n, D), rows of this rank in float32 or float64.

    Args:
        z: Normalised here.
        eps: Added to the distances.
        local: Neighbours on this rank alone.

    Returns:
        Scalar, the mean over the rows of all ranks.

    Raises:
        ValueError: If there is only one row to choose from.
    """
    x = unit(z)
    start, total = row_range(x)
    everyone, first = (x, 0) if local else (distributed.gather_with_grad(x), start)
    lonely = everyone.shape[0] == 1
    if local and distributed.is_distributed():  # all ranks refuse together: none is left waiting
        lonely = bool(distributed.all_reduce_sum(x.new_tensor(float(lonely))).item())
    if total < 2 or lonely:
        raise ValueError(
            "KoLeo needs at least 2 samples" + (" on each rank" if local else "") + ": a single one has no "
            "neighbour."
        )
    distance = torch.linalg.vector_norm(x - everyone[nearest_other(x, everyone, first)], dim=1)
    return -global_mean(torch.log(distance + eps), total)


class KoLeo(SelfDescribing, nn.Module):
    """Sum over views of :func:`koleo`; one view is enough.

    Example:
        >>> round(KoLeo()(torch.eye(2)).loss.item(), 4)
        -0.3466
    """

    def __init__(self, eps: float = 1e-8, local: bool = False) -> None:
        super().__init__()
        if eps <= 0:
            raise ValueError(f"eps must be positive, not {eps}.")
        self.eps = eps
        self.local = local

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D)."""
        found = as_views(*views, at_least=1)
        with torch.autocast(found[0].device.type, enabled=False):
            return ObjectiveOutput(torch.stack([koleo(view, self.eps, self.local) for view in found]).sum())

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return f"eps={self.eps}, local={self.local}"

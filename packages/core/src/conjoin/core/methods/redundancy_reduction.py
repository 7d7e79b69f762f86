# SPDX-License-Identifier: Apache-2.0
"""Redundancy reduction: views agree, and the columns of the embedding carry different information.

Barlow Twins (Zbontar et al., arXiv 2103.03230), VICReg (Bardes et al., arXiv 2105.04906) and relatives: one
network, no negatives, no teacher; what prevents collapse is a statistic of the batch.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from conjoin.core.methods.contrastive import check_single_branch
from conjoin.core.methods.head import Head
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.methods.multi_view import MultiViewBase
from conjoin.core.objectives import VICReg
from conjoin.core.optim import Optim
from conjoin.core.transforms import Views

__all__ = ("RedundancyReduction",)


class RedundancyReduction(MultiViewBase):
    """Redundancy reduction with any encoder.

    ``BarlowTwins``, ``VICReg``, ``INTL``, ``WMSE``, ``SIGReg``, ``LeJEPA`` and ``SpectralContrastive``.

    Args:
        encoder: Any encoder, ``encoder(x) -> (B, N, D)`` with ``embed_dim``.
        objective: Called with the stack (V, B, K) of the projections; ``VICReg()`` if not given.
        projector: Three layers of four times the encoder's width if not given (8192 for a ResNet-50, as in
            the papers), batch norms in between.
        views: See :class:`conjoin.core.methods.multi_view.MultiViewBase`.
        together: See there.
        optim: Optimiser and schedules.
        seed: See there.

    Raises:
        ValueError: If the objective needs targets or maps.
    """

    has_maps: ClassVar[bool] = False

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module | None = None,
        projector: Head | nn.Module | None = None,
        *,
        views: Views | None = None,
        together: bool = False,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        objective = objective or VICReg()
        check_single_branch(objective, self.has_maps)
        wide = 4 * int(encoder.embed_dim)  # type: ignore[arg-type]  # an attribute of every encoder
        super().__init__(
            encoder,
            objective,
            projector or Head(wide, wide, 3, hidden_bias=True),
            views=views,
            together=together,
            optim=optim,
            seed=seed,
        )

    def compare(self, views: Sequence[Tensor], batch: dict[str, Any]) -> StepOutput:
        """Encode and project all views, score them together."""
        features = self.pooled(self.encoder, views)
        z = torch.stack(self.projected(self.projector, features))
        out = self.objective(z)
        return StepOutput(out.loss, out.terms, features[0].detach(), {"projection": z[0].detach()})

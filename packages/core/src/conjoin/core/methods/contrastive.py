# SPDX-License-Identifier: Apache-2.0
"""Contrastive learning: views of one sample agree, views of different samples do not.

SimCLR (Chen et al., arXiv 2002.05709) and its relatives: one network, one projector, an objective that needs
other samples of the batch (or a queue of them, or prototypes) to tell a sample from.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.methods.head import Head
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.methods.multi_view import MultiViewBase, takes, width_for
from conjoin.core.objectives import NTXent
from conjoin.core.optim import Optim
from conjoin.core.transforms import Views

__all__ = ("Contrastive", "check_single_branch")


def check_single_branch(objective: nn.Module, maps: bool = False) -> None:
    """Refuse an objective that compares a student with targets, or maps where there are none.

    Raises:
        ValueError: Naming the system that has them.
    """
    name = type(objective).__name__
    if takes(objective, "targets"):
        raise ValueError(f"{name} compares a student with targets: use SelfDistillation.")
    if takes(objective, "maps") and not maps:
        raise ValueError(f"{name} compares maps of local embeddings: use LocalRedundancyReduction.")


class Contrastive(MultiViewBase):
    """Contrastive learning with any encoder.

    ``NTXent``, ``DCL``, ``InfoNCE``, ``CLIP``, ``SupCon`` (which uses the batch's ``label``; samples without
    one stand alone), ``SpectralContrastive`` and ``SwAV``.

    Args:
        encoder: Any encoder, ``encoder(x) -> (B, N, D)`` with ``embed_dim``.
        objective: Called with the stack (V, B, K) of the projections; ``NTXent()`` if not given.
        projector: SimCLR's if not given: two layers of the encoder's width to 128, or to what the objective
            was made for, batch norms after both.
        views: See :class:`conjoin.core.methods.multi_view.MultiViewBase`.
        together: See there.
        optim: Optimiser and schedules.
        seed: See there.

    Raises:
        ValueError: If the objective needs targets.
    """

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module | None = None,
        projector: Head | nn.Module | None = None,
        *,
        views: Views | None = None,
        together: bool = True,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        objective = objective or NTXent()
        check_single_branch(objective)
        super().__init__(
            encoder,
            objective,
            projector or Head(out=width_for(objective, 128), last_norm="scale"),
            views=views,
            together=together,
            optim=optim,
            seed=seed,
        )

    def compare(self, views: Sequence[Tensor], batch: dict[str, Any]) -> StepOutput:
        """Encode and project all views, score them together."""
        features = self.pooled(self.encoder, views)
        z = torch.stack(self.projected(self.projector, features))
        labels = {}
        if takes(self.objective, "labels") and "label" in batch:
            # A negative label of its own for each sample without one.
            alone = self.sample_keys(batch, "alone").to(z.device) | torch.iinfo(torch.int64).min
            labels["labels"] = torch.where(batch["label"] < 0, alone, batch["label"])
        out = self.objective(z, **labels)
        return StepOutput(out.loss, out.terms, features[0].detach(), {"projection": z[0].detach()})

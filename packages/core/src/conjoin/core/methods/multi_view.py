# SPDX-License-Identifier: Apache-2.0
"""What the two-view families share: views, one encoder of any kind, a projector, an objective.

A batch either brings ``views`` (:class:`conjoin.core.data.views.MultiView`), or they are made of ``x`` on the
device (:class:`conjoin.core.transforms.Views`), keyed by sample and epoch. Each view is encoded, pooled and
projected; what is compared with what is the family's business.

Objectives with state (queues, centres, memories) are children of the system: their buffers are in its
checkpoints, and :class:`JointEmbedding` moves them once per optimiser step.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.methods.head import Head
from conjoin.core.methods.joint_embedding import JointEmbedding, StepOutput
from conjoin.core.optim import Optim
from conjoin.core.transforms import Crop, Noise, Scale, ViewGroup, Views

__all__ = ("PLAIN_VIEWS", "MultiViewBase", "takes", "width_for")

PLAIN_VIEWS = Views([ViewGroup(2, [Crop((0.3, 1.0)), Scale((0.8, 1.25)), Noise(0.1)])])
"""Two views that make sense for signals, pictures and volumes; no system should stay with them."""


def width_for(objective: nn.Module, default: int) -> int:
    """How many values an objective compares: its own ``dim``, if it has one."""
    return int(getattr(objective, "dim", default))


def takes(objective: nn.Module, name: str) -> bool:
    """Whether an objective's ``forward`` has an argument of this name."""
    return name in inspect.signature(objective.forward).parameters


class MultiViewBase(JointEmbedding):
    """Base of :class:`Contrastive`, :class:`RedundancyReduction`, :class:`SelfDistillation` and their kin.

    Args:
        encoder: Any encoder, ``encoder(x) -> (B, N, D)`` with ``embed_dim``.
        objective: See the family.
        projector: A description, or a ready module of rows (N, D) to (N, K).
        views: How views are made of ``x`` where the batch does not bring any; :data:`PLAIN_VIEWS` if not
            given.
        together: Encode views of one size in one batch, so that batch norms see all of them at once (SimCLR,
            SwAV, DINO, LeJEPA); False encodes them one by one (Barlow Twins, VICReg, BYOL, SimSiam, MoCo v3).
        optim: Optimiser and schedules.
        seed: Of the heads' initial weights and all draws; the run's if not given.

    Raises:
        ValueError: If the projector ends in another number of values than the objective was made for.
    """

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module,
        projector: Head | nn.Module,
        *,
        views: Views | None = None,
        together: bool = True,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(encoder, optim=optim, seed=seed)
        self.objective = objective
        if isinstance(projector, Head):
            width, name = projector.width(self.embed_dim), type(objective).__name__
            wanted = width_for(objective, width)
            if width != wanted:
                raise ValueError(
                    f"The projector ends in {width} values and {name} was made for {wanted}: give one "
                    f"out={wanted} (or prototypes={wanted}), or the other dim={width}."
                )
        self.projector = self.build_head(projector, self.embed_dim, "projector")
        self.views = views or PLAIN_VIEWS
        self.together = together

    @property
    def embed_dim(self) -> int:
        """Width D of the encoder's tokens."""
        return cast(int, self.encoder.embed_dim)

    def build_head(self, head: Head | nn.Module, dim: int, name: str) -> nn.Module:
        """A head from its description, with weights that depend on the seed and ``name`` alone."""
        if isinstance(head, nn.Module):
            return head
        with random.seeded(random.key(self.seed, f"init/{name}")):
            return head.build(dim)

    # What a family says.

    @abstractmethod
    def compare(self, views: Sequence[Tensor], batch: dict[str, Any]) -> StepOutput:
        """The loss of the views (B, ...) of one batch."""

    # What the families use.

    def step(self, batch: dict[str, Any]) -> StepOutput:
        """Make the views, compare them."""
        return self.compare(self.make_views(batch), batch)

    def make_views(self, batch: dict[str, Any]) -> list[Tensor]:
        """The V views (B, ...) of a batch, global ones first."""
        if "views" in batch:
            return list(batch["views"])
        return self.views(batch["x"], self.sample_keys(batch, "views"))

    def encoded(self, encoder: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
        """Tokens (B, N, D) of each view."""
        return self._each(encoder, views)

    def pooled(self, encoder: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, D) of each view: :meth:`pool_tokens` of its tokens."""
        return self._each(lambda x: self.pool_tokens(encoder(x)), views)

    def projected(self, projector: nn.Module, features: Sequence[Tensor]) -> list[Tensor]:
        """Projections (B, K) of each view's features."""
        return self._each(projector, features)

    def _each(self, function: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
        return _in_runs(function, views) if self.together else [function(view) for view in views]


def _in_runs(function: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Apply a function to neighbouring views of one shape in one batch."""
    results: list[Tensor] = []
    start = 0
    for end in range(1, len(views) + 1):
        if end == len(views) or views[end].shape != views[start].shape:
            run = views[start:end]
            results += function(torch.cat(list(run)) if len(run) > 1 else run[0]).chunk(len(run))
            start = end
    return results

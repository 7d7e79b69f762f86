# SPDX-License-Identifier: Apache-2.0
"""The joint-embedding predictive architecture as a template of four questions.

What is visible and what is to be predicted? (:meth:`JEPA.partition`) What does the context say?
(:meth:`JEPA.encode_context`) In which representation are targets given? (:meth:`JEPA.encode_targets`)
What is predicted? (:meth:`JEPA.predict`) The objective then compares the last two. A system replaces the
answers in which it differs, and nothing else.
"""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from conjoin.core.callbacks.ema import EMATeacher
from conjoin.core.masking import Masks, MaskSampler
from conjoin.core.methods.joint_embedding import JointEmbedding, StepOutput
from conjoin.core.nn.gather import gather_tokens
from conjoin.core.objectives import LatentRegression
from conjoin.core.optim import Linear, Optim

__all__ = ("JEPA",)


class JEPA(JointEmbedding):
    """Predict a teacher's features of hidden tokens from the visible ones.

    Args:
        encoder: Token encoder, ``encoder(x, keep=None) -> (B, N or K, D)`` with ``embed_dim`` and ``grid``.
        predictor: ``predictor(context (B, Kc, D), context_index (B, Kc), target_index (B, M, Kt),
            context_valid=None, targets_valid=None) -> (B, M, Kt, D)``.
        masks: Sampler of what is visible and what is hidden.
        objective: Compares predictions with targets; smooth-L1 to layer-normalised targets if not given.
        ema: Teacher momentum at the first and after the last optimiser step, linear in between.
        optim: Optimiser and schedules.
        seed: See :class:`JointEmbedding`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        predictor: nn.Module,
        masks: MaskSampler,
        *,
        objective: nn.Module | None = None,
        ema: tuple[float, float] = (0.996, 1.0),
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(encoder, optim=optim, seed=seed)
        if not 0 <= ema[0] <= 1 or not 0 <= ema[1] <= 1:
            raise ValueError(f"ema must be two momenta in [0, 1], not {ema}.")
        self.predictor = predictor
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.masks = masks
        self.objective = objective or LatentRegression()
        self.ema = ema
        masks.check(self.grid)

    @property
    def grid(self) -> tuple[int, ...]:
        """The encoder's token grid, in raster order."""
        return cast("tuple[int, ...]", self.encoder.grid)

    @property
    def representation(self) -> nn.Module:
        """The teacher: its features are the ones to evaluate."""
        return self.teacher

    def partition(self, batch: dict[str, Any]) -> Masks:
        """What is visible and what is to be predicted."""
        return self.masks(self.grid, self.sample_keys(batch, "mask"), self.step_key("mask")).to(self.device)

    def encode_context(self, batch: dict[str, Any], masks: Masks) -> Tensor:
        """Features (B, Kc, D) of the visible tokens, which see nothing else.

        Masks with padding need an encoder that takes ``padding`` (B, Kc), True where nobody may look.
        """
        if masks.context_valid is None:
            return cast(Tensor, self.encoder(batch["x"], keep=masks.context))
        return cast(Tensor, self.encoder(batch["x"], keep=masks.context, padding=~masks.context_valid))

    @torch.no_grad()
    def encode_targets(self, batch: dict[str, Any]) -> Tensor:
        """The teacher's features (B, N, D) of all tokens, each in view of the whole sample."""
        return cast(Tensor, self.teacher(batch["x"]))

    def predict(self, context: Tensor, masks: Masks) -> Tensor:
        """Predicted features (B, M, Kt, D) of the target tokens."""
        return cast(
            Tensor,
            self.predictor(
                context,
                masks.context,
                masks.targets,
                context_valid=masks.context_valid,
                targets_valid=masks.targets_valid,
            ),
        )

    def step(self, batch: dict[str, Any]) -> StepOutput:
        """Hide, encode, predict, compare."""
        masks = self.partition(batch)
        features = self.encode_targets(batch)
        targets = gather_tokens(features, masks.targets)
        predictions = self.predict(self.encode_context(batch, masks), masks)
        out = self.objective(predictions, targets, masks.targets_valid)
        index = masks.targets
        if masks.targets_valid is not None:
            index = index.masked_fill(~masks.targets_valid, -1)  # callbacks leave these out
        embedding = self.pool_tokens(features)
        # `embed(batch)`, unless a subclass has redefined what lies in between.
        plain = type(self).encode_targets is JEPA.encode_targets and self.representation is self.teacher
        frozen = None if self.training or not plain or "looks" in batch else embedding
        extras = {"targets": targets, "target_index": index}
        return StepOutput(out.loss, out.terms, embedding, extras, frozen)

    def configure_callbacks(self) -> Sequence[Callback]:
        """The teacher's average: training cannot do without it."""
        return [EMATeacher(self.momentum)]

    def momentum(self, step: int) -> float:
        """The teacher's momentum after optimiser step ``step`` (from 0)."""
        return Linear(*self.ema, self.horizon()[0], self.optim.schedule_stretch)(step)

    def train(self, mode: bool = True) -> "JEPA":
        """Switch to training mode, all but the teacher: its features are always those of evaluation."""
        super().train(mode)
        self.teacher.eval()
        return self

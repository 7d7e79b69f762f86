# SPDX-License-Identifier: Apache-2.0
"""Self-distillation: a student predicts what a gradient-free teacher says about another view.

BYOL (Grill et al., arXiv 2006.07733), SimSiam (Chen and He, arXiv 2011.10566), MoCo v3 (Chen et al., arXiv
2104.02057), DINO (Caron et al., arXiv 2104.14294) and TiCo (Zhu et al., arXiv 2206.10698) differ in who the
teacher is (a moving average, or the student itself), in whether the student has a predictor, and in the
objective. INTL (Weng et al., arXiv 2305.16789) with a momentum view fits too.
"""

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from conjoin.core.callbacks.ema import EMATeacher
from conjoin.core.methods.batch_norm import BatchNorm
from conjoin.core.methods.head import Head, Prototypes
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.methods.multi_view import MultiViewBase, takes, width_for
from conjoin.core.objectives import BYOL, DINO, INTL, MoCoV3, SimSiam
from conjoin.core.optim import CosineMomentum, Optim
from conjoin.core.transforms import Views

__all__ = ("SelfDistillation",)


def _default_projector(objective: nn.Module, wide: int) -> Head:
    if isinstance(objective, DINO):
        return Head(
            2048,
            256,
            3,
            norm="none",
            activation="gelu",
            hidden_bias=True,
            bias=True,
            prototypes=objective.dim,
        )
    return Head(wide, width_for(objective, 256), hidden_bias=True)


class SelfDistillation(MultiViewBase):
    """Self-distillation with any encoder.

    ``BYOL``, ``SimSiam``, ``MoCoV3``, ``DINO``, ``TiCo``, and ``INTL`` with a momentum view. The teacher sees
    the first ``targets`` views, the student all of them. Each momentum follows half a cosine over the run.

    Batch norms of the teacher normalise by its own batches, as in BYOL and MoCo v3; dropout and drop-path are
    off in it.

    Args:
        encoder: Any encoder, ``encoder(x) -> (B, N, D)`` with ``embed_dim``.
        objective: Called with stacks (V, B, K) of the student and (T, B, K) of the teacher; ``BYOL()`` if
            not given.
        projector: Two layers of twice the encoder's width to 256 if not given (4096 for a ResNet-50, as in
            BYOL), or to what the objective was made for; for ``DINO`` and ``IBOT`` the papers' three layers
            of 2048 to 256 without norms, and prototypes.
        predictor: Of the student. If not given: the same shape for ``BYOL``, ``SimSiam`` and ``MoCoV3``,
            which collapse without one, and none for others. ``Head(layers=0)`` is none.
        views: See :class:`conjoin.core.methods.multi_view.MultiViewBase`.
        targets: How many of the first views the teacher sees.
        ema: Teacher momentum at the first and after the last optimiser step; None makes the student its own
            teacher (SimSiam).
        frozen: Which of the two gives the frozen features.
        freeze_prototypes: Epochs in which the prototypes of the head do not learn (DINO: 1).
        together: See :class:`conjoin.core.methods.multi_view.MultiViewBase`.
        optim: Optimiser and schedules.
        seed: See there.

    Raises:
        ValueError: If the objective has no targets or compares patches, or an argument is out of its range.
    """

    has_patches: ClassVar[bool] = False
    teacher: nn.Module | None
    teacher_projector: nn.Module | None

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module | None = None,
        projector: Head | nn.Module | None = None,
        predictor: Head | nn.Module | None = None,
        *,
        views: Views | None = None,
        targets: int = 2,
        ema: tuple[float, float] | None = (0.996, 1.0),
        frozen: Literal["teacher", "student"] = "teacher",
        freeze_prototypes: int = 0,
        together: bool = False,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        objective = objective or BYOL()
        if not takes(objective, "targets") and not isinstance(objective, INTL):
            raise ValueError(
                f"{type(objective).__name__} has no targets: use Contrastive or RedundancyReduction."
            )
        if takes(objective, "student_patches") and not self.has_patches:
            raise ValueError(
                f"{type(objective).__name__} compares hidden patches: use MaskedSelfDistillation."
            )
        if targets < 1 or freeze_prototypes < 0:
            raise ValueError(
                "targets must be at least 1 and freeze_prototypes at least 0, not "
                f"{targets}, {freeze_prototypes}."
            )
        if ema is not None and not (0 <= ema[0] <= 1 and 0 <= ema[1] <= 1):
            raise ValueError(f"ema must be two momenta in [0, 1], not {ema}.")
        if frozen not in ("teacher", "student"):
            raise ValueError(f'frozen must be "teacher" or "student", not {frozen!r}.')
        wide = 2 * int(encoder.embed_dim)  # type: ignore[arg-type]  # an attribute of every encoder
        projector = projector or _default_projector(objective, wide)
        super().__init__(
            encoder, objective, projector, views=views, together=together, optim=optim, seed=seed
        )
        self.predictor = self._build_predictor(projector, predictor, wide)
        self.targets = targets
        self.ema = ema
        self.frozen = frozen
        self.freeze_prototypes = freeze_prototypes
        self.teacher = self.teacher_projector = None
        if ema is not None:
            self.teacher = copy.deepcopy(encoder).requires_grad_(False)
            self.teacher_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.train(self.training)

    def _build_predictor(
        self, projector: Head | nn.Module, predictor: Head | nn.Module | None, wide: int
    ) -> nn.Module:
        if isinstance(predictor, nn.Module):
            return predictor
        needed = isinstance(self.objective, BYOL | SimSiam | MoCoV3)
        if predictor is None and not needed:
            return nn.Identity()
        if isinstance(projector, nn.Module):
            raise ValueError("The width of a ready projector is not known: give a ready predictor too.")
        width = projector.width(self.embed_dim)
        return self.build_head(predictor or Head(wide, width, hidden_bias=True), width, "predictor")

    @property
    def representation(self) -> nn.Module:
        """The teacher or the student, see ``frozen``; the student if it is its own teacher."""
        return self.encoder if self.teacher is None or self.frozen == "student" else self.teacher

    def compare(self, views: Sequence[Tensor], batch: dict[str, Any]) -> StepOutput:
        """The student sees every view, the teacher the first ones."""
        features = self.pooled(self.encoder, views)
        projections = self.projected(self.projector, features)
        predictions = self.projected(self.predictor, projections)
        if self.teacher is None or self.teacher_projector is None:
            seen, targets = features, [z.detach() for z in projections[: self.targets]]
        else:
            with torch.no_grad():
                seen = self.pooled(self.teacher, views[: self.targets])
                targets = self.projected(self.teacher_projector, seen)
        if isinstance(self.objective, INTL):
            out = self.objective(torch.stack(predictions[1:]), target=targets[0])
        else:
            out = self.objective(torch.stack(predictions), torch.stack(targets))
        watched = features if self.representation is self.encoder else seen
        return StepOutput(out.loss, out.terms, watched[0].detach(), self.monitored(projections, targets))

    @torch.no_grad()
    def monitored(self, projections: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """What monitors see: the student's projections of the first view, or the teacher's assignments.

        Assignments to prototypes are given as logits (B, K), centred and sharpened.
        """
        if isinstance(self.objective, DINO):
            # Sinkhorn-Knopp takes the common part out as well, which the centre follows meanwhile.
            scores = targets[0] - self.objective.center
            return {"prototype_logits": scores / self.objective.temperature(scores.dtype)}
        # Scores of prototypes have a common part: their spread says nothing about collapse.
        scored = any(isinstance(part, Prototypes) for part in self.projector.modules())
        return {} if scored else {"projection": projections[0].detach()}

    # The teacher.

    def configure_callbacks(self) -> Sequence[Callback]:
        """The averages of encoder and projector."""
        if self.teacher is None:
            return []
        # The running statistics of batch norms stay the teacher's own.
        pairs = (("encoder", "teacher"), ("projector", "teacher_projector"))
        return [EMATeacher(self.momentum, *pair, buffers="keep") for pair in pairs]

    def momentum(self, step: int) -> float:
        """The teacher's momentum after optimiser step ``step`` (from 0)."""
        assert self.ema is not None
        return CosineMomentum(self.ema[0], self.horizon()[0], self.ema[1])(step)

    def train(self, mode: bool = True) -> "SelfDistillation":
        """Switch to training mode; of the teacher, the batch norms alone."""
        super().train(mode)
        for module in self._teachers():
            module.eval()
            for part in module.modules():
                if isinstance(part, _BatchNorm | BatchNorm):
                    part.train(mode)
        return self

    def _teachers(self) -> list[nn.Module]:
        # Asked for by nn.Module.train during construction too, before there is any.
        found = (getattr(self, name, None) for name in ("teacher", "teacher_projector"))
        return [module for module in found if module is not None]

    # The head.

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Set the step's hyper-parameters; leave the prototypes out of the first epochs."""
        super().on_before_optimizer_step(optimizer)
        if self.current_epoch < self.freeze_prototypes:
            parts = chain(self.projector.modules(), self.predictor.modules())
            for parameter in chain(*(part.parameters() for part in parts if isinstance(part, Prototypes))):
                parameter.grad = None

# SPDX-License-Identifier: Apache-2.0
"""Self-distillation of whole samples and of hidden patches: iBOT (Zhou et al., arXiv 2111.07832).

The teacher sees whole global views. Of some of them the student sees a part only: hidden patches are replaced
by a learned token, and the student says what the teacher's head makes of them. Summaries of views are
compared as in DINO.
"""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.masking import BlockMask, MaskSampler
from conjoin.core.methods.head import Head
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.methods.multi_view import takes
from conjoin.core.methods.self_distillation import SelfDistillation
from conjoin.core.nn import MaskToken
from conjoin.core.objectives import IBOT
from conjoin.core.optim import Optim
from conjoin.core.transforms import Views

__all__ = ("MaskedSelfDistillation",)


class MaskedSelfDistillation(SelfDistillation):
    """iBOT with any encoder that can hide patches.

    These are ``ViT``, vision transformers of timm, ``SignalViT`` and ``SpectrogramViT``. The summary of a
    view is the mean of its tokens, timm's class tokens left out; one head serves summaries and patches alike,
    as in the paper's runs.

    Args:
        encoder: ``encoder(x, hide=None) -> (B, N, D)`` with ``embed_dim`` and ``grid``; ``hide`` maps patch
            tokens (B, N, D) to what the blocks are to see of them, before positions are added.
        objective: Called with summaries, patches and masks; ``IBOT()`` if not given.
        projector: See :class:`SelfDistillation`; must end in as many values as the objective has.
        masks: What is hidden of a global view: the targets of this sampler. One block of a tenth to a half
            of the view if not given; the release puts several together.
        masked: Probability that something is hidden of a view.
        views: See :class:`conjoin.core.methods.multi_view.MultiViewBase`.
        targets: How many of the first views are global: seen by the teacher, and in part by the student.
        ema: See :class:`SelfDistillation`.
        frozen: See there.
        freeze_prototypes: See there.
        together: See there.
        optim: Optimiser and schedules.
        seed: See there.

    Raises:
        ValueError: If the encoder cannot hide patches, the objective compares none, or an argument is out of
            its range.
    """

    has_patches: ClassVar[bool] = True

    def __init__(
        self,
        encoder: nn.Module,
        objective: nn.Module | None = None,
        projector: Head | nn.Module | None = None,
        *,
        masks: MaskSampler | None = None,
        masked: float = 0.5,
        views: Views | None = None,
        targets: int = 2,
        ema: tuple[float, float] | None = (0.996, 1.0),
        frozen: Literal["teacher", "student"] = "teacher",
        freeze_prototypes: int = 0,
        together: bool = True,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        objective = objective or IBOT()
        if not takes(objective, "student_patches"):
            raise ValueError(f"{type(objective).__name__} compares no patches: use SelfDistillation.")
        if "hide" not in inspect.signature(encoder.forward).parameters:
            raise ValueError(
                f"{type(encoder).__name__} cannot hide patches: its forward takes no `hide`; use a "
                "vision transformer, or an encoder of yours whose forward(x, hide=None) does."
            )
        if not 0 <= masked <= 1:
            raise ValueError(f"masked is a probability in [0, 1], not {masked}.")
        super().__init__(
            encoder,
            objective,
            projector,
            views=views,
            targets=targets,
            ema=ema,
            frozen=frozen,
            freeze_prototypes=freeze_prototypes,
            together=together,
            optim=optim,
            seed=seed,
        )
        self.masks = masks or BlockMask((0.1, 0.5), (0.3, 1 / 0.3))
        self.masks.check(self._grid)
        self.masked = masked
        self.mask_token = MaskToken(self.embed_dim)

    @property
    def _grid(self) -> tuple[int, ...]:
        return cast(tuple[int, ...], self.encoder.grid)

    def hidden(self, batch: dict[str, Any], view: int) -> Tensor:
        """Which patches of a global view the student does not see: (B, N), True where hidden."""
        keys = random.fold(random.key(0, "view", view), self.sample_keys(batch, "masks"))
        step = random.key(0, "view", view, self.step_key("masks"))
        found = self.masks(self._grid, keys, step).as_grid(self._grid)[1].any(dim=1).flatten(1)
        chosen = random.uniform(random.fold(random.key(0, "chosen"), keys), 1) < self.masked
        return (found & chosen).to(batch["x"].device)

    def compare(self, views: Sequence[Tensor], batch: dict[str, Any]) -> StepOutput:
        """The student sees every view, global ones in part; the teacher whole global views.

        Raises:
            ValueError: If a global view has not the size that the encoder was made for.
        """
        whole, small = views[: self.targets], views[self.targets :]
        hidden = [self.hidden(batch, number) for number in range(len(whole))]
        everything = torch.cat(hidden)
        own = list(self._student(torch.cat(list(whole)), everything).chunk(len(whole)))
        teacher, head = self.teacher or self.encoder, self.teacher_projector or self.projector
        with torch.no_grad():
            others = self.encoded(teacher, whole)
            seen = [self.pool_tokens(tokens) for tokens in others]
            targets = self.projected(head, seen)
            target_patches = self._patches(head, others)
        features = [self.pool_tokens(tokens) for tokens in (*own, *self.encoded(self.encoder, small))]
        students = self.projected(self.projector, features)
        patches = self._patches(self.projector, own)
        out = self.objective(students, targets, patches, target_patches, torch.stack(hidden))
        watched = features if self.representation is self.encoder else seen
        return StepOutput(out.loss, out.terms, watched[0].detach(), self.monitored(students, targets))

    def _student(self, x: Tensor, hidden: Tensor) -> Tensor:
        def hide(tokens: Tensor) -> Tensor:
            if tokens.shape[1] != hidden.shape[1]:
                raise ValueError(
                    f"A global view of {tuple(x.shape[2:])} has {tokens.shape[1]} patches and masks are for "
                    f"{hidden.shape[1]}: make global views of the size that the encoder was made for."
                )
            return cast(Tensor, self.mask_token(tokens, hidden))

        return cast(Tensor, self.encoder(x, hide=hide))

    def _patches(self, head: nn.Module, tokens: Sequence[Tensor]) -> list[Tensor]:
        rows = self.projected(head, [each.flatten(0, 1) for each in tokens])
        return [row.view(*each.shape[:2], -1) for row, each in zip(rows, tokens, strict=True)]

# SPDX-License-Identifier: Apache-2.0
r"""iBOT: DINO on whole images and on the patches that the student did not see.

Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022, arXiv 2111.07832. Beside DINO's
term (:mod:`conjoin.core.objectives.dino`) on the class tokens, for each global view v, in which the student
saw mask tokens at the positions :math:`M_{vi}` and the teacher saw everything,

.. math:: L_\text{patch} = \operatorname{mean}_{v, i} \frac{1}{\max(|M_{vi}|, 1)} \sum_{p \in M_{vi}} - \sum_k
          \operatorname{softmax}_k \bigl( (t_{vip} - c_p) / \tau_p \bigr)
          \log \operatorname{softmax}_k ( s_{vip} / \tau_s ) .

Student and teacher are those of the *same* view. The patches have a centre of their own, over all patches of
all ranks. An image without masked patches adds 0, as in the release, so the scale of the term varies with the
share of such images.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from conjoin.core.objectives.dino import (
    DINO,
    Centering,
    moved_center,
    outputs_seen,
    teacher_probabilities,
    warmed_up,
)
from conjoin.core.objectives.nt_xent import check_temperature
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.reduction import global_mean, row_range
from conjoin.core.objectives.soft_targets import cross_entropy
from conjoin.core.objectives.views import Views, check_width, full_precision

__all__ = ("IBOT", "patch_cross_entropy")


def patch_cross_entropy(logits: Sequence[Tensor], targets: Sequence[Tensor], masks: Tensor) -> Tensor:
    """Cross-entropy at the masked patches, averaged per image, then over images of all ranks and views.

    Args:
        logits: (n, P, K) of each view, already divided by the temperature, or (m, K) of its masked patches
            alone, image by image.
        targets: The same of the teacher, of sum 1.
        masks: (T, n, P) booleans, True where the student saw a mask token.

    Returns:
        Scalar over the global batch.
    """
    total = row_range(masks[0])[1]
    losses = []
    for scores, wanted, mask in zip(logits, targets, masks, strict=True):
        each = cross_entropy(scores, wanted)
        weight = mask.to(each.dtype)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1)
        losses.append((each * (weight if each.ndim == 2 else weight[mask])).sum())
    return global_mean(torch.stack(losses), total * len(losses))


def _masked_rows(patches: Sequence[Tensor], masks: Tensor) -> list[Tensor]:
    """Of (n, P, K) of each view the masked ones, (m, K); all under ``torch.compile``.

    Their number depends on the data, which a graph does not know: there the others get the weight 0.
    """
    if torch.compiler.is_compiling():
        return list(patches)
    rows = [mask.flatten().nonzero().squeeze(1) for mask in masks]
    return [view.flatten(0, 1).index_select(0, row) for view, row in zip(patches, rows, strict=True)]


class IBOT(DINO):
    """iBOT with its two centres.

    Args:
        dim: Number K of the head's outputs, for class tokens and patches alike.
        student_temperature: Fixed.
        teacher_temperature: Of class tokens at the first step.
        final_teacher_temperature: After the warm-up; as before if not given.
        patch_teacher_temperature: Of patches at the first step; as class tokens if not given.
        final_patch_teacher_temperature: Of patches after the warm-up; as class tokens if neither is given.
        warmup_steps: Optimiser steps.
        center_momentum: How much of the centre of class tokens stays in each optimiser step.
        patch_center_momentum: The same for patches.
        centering: See :func:`conjoin.core.objectives.dino.teacher_probabilities`; for the class tokens.
        cls_weight: Weight of the class-token term.
        patch_weight: Weight of the patch term.
    """

    patch_center: Tensor

    def __init__(
        self,
        dim: int = 8192,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        final_teacher_temperature: float | None = None,
        patch_teacher_temperature: float | None = None,
        final_patch_teacher_temperature: float | None = None,
        warmup_steps: int = 0,
        center_momentum: float = 0.9,
        patch_center_momentum: float = 0.9,
        centering: Centering = "momentum",
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
    ) -> None:
        super().__init__(
            dim,
            student_temperature,
            teacher_temperature,
            final_teacher_temperature,
            warmup_steps,
            center_momentum,
            centering,
        )
        if not 0 <= patch_center_momentum <= 1 or min(cls_weight, patch_weight) < 0:
            raise ValueError(
                "patch_center_momentum must be in [0, 1] and weights must not be negative, not "
                f"{patch_center_momentum}, {cls_weight}, {patch_weight}."
            )
        if patch_teacher_temperature is None:
            patch_teacher_temperature = teacher_temperature
            if final_patch_teacher_temperature is None:
                final_patch_teacher_temperature = final_teacher_temperature
        self.patch_teacher_temperature = check_temperature(patch_teacher_temperature)
        self.final_patch_teacher_temperature = final_patch_teacher_temperature
        self.patch_center_momentum = patch_center_momentum
        self.cls_weight = cls_weight
        self.patch_weight = patch_weight
        self.register_buffer("patch_center", torch.zeros(1, dim))

    def forward(  # type: ignore[override]  # patches are what iBOT adds
        self, students: Views, targets: Views, student_patches: Views, target_patches: Views, masks: Tensor
    ) -> ObjectiveOutput:
        """Score class tokens and patches.

        Args:
            students: (V, N, K), class tokens of all views, global ones first.
            targets: (T, N, K), the teacher's of the T global views.
            student_patches: (T, N, P, K), or T of (N, P, K).
            target_patches: The same of the teacher.
            masks: (T, N, P) booleans, True where the student saw a mask token.

        Returns:
            Loss, and terms ``cls`` and ``patch`` with their weights.

        Raises:
            ValueError: If the shapes of patches and masks do not agree.
        """
        own = [full_precision(view) for view in student_patches]
        teacher = [full_precision(view).detach() for view in target_patches]
        if (
            len({(len(own), *own[0].shape[:2]), tuple(masks.shape), (len(teacher), *teacher[0].shape[:2])})
            > 1
        ):
            raise ValueError(
                f"masks {tuple(masks.shape)} must be (T, N, P) of T={len(own)} student and {len(teacher)} "
                f"teacher views with patches {tuple(own[0].shape)} and {tuple(teacher[0].shape)}."
            )
        check_width(own[0], self.dim, self)
        masks = masks.bool()
        with torch.autocast(masks.device.type, enabled=False):
            cls, seen = self.cross_entropy(students, targets)
            start, final = self.patch_teacher_temperature, self.final_patch_teacher_temperature
            temperature = warmed_up(start, final, self.steps, self.warmup_steps, own[0].dtype)
            center = self.patch_center.to(own[0].dtype)
            wanted = teacher_probabilities(_masked_rows(teacher, masks), center, temperature)
            scores = [view / self.student_temperature for view in _masked_rows(own, masks)]
            patch = patch_cross_entropy(scores, wanted, masks)
            cls, patch = self.cls_weight * cls, self.patch_weight * patch
            self.observe(*outputs_seen(seen), *outputs_seen(teacher))
        return ObjectiveOutput(cls + patch, {"cls": cls.detach(), "patch": patch.detach()})

    def commit(self, *seen: Tensor) -> None:
        """Move both centres by the teacher's outputs of one optimiser step."""
        super().commit(*seen[:2])
        self.patch_center.copy_(moved_center(self.patch_center, self.patch_center_momentum, *seen[2:]))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"{super().extra_repr()}, patch_teacher_temperature={self.patch_teacher_temperature}, "
            f"final_patch_teacher_temperature={self.final_patch_teacher_temperature}, "
            f"cls_weight={self.cls_weight}, patch_weight={self.patch_weight}"
        )

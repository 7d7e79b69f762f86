# SPDX-License-Identifier: Apache-2.0
r"""DINO: a student predicts the centred and sharpened output of its teacher.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, arXiv 2104.14294. With
teacher outputs t of the first T (global) views, student outputs s of all V views, the centre c and the
temperatures,

.. math:: L = \operatorname{mean}_{(v, j),\, v \ne j} \operatorname{mean}_i \Bigl( - \sum_k
          \operatorname{softmax}_k \bigl( (t_{ji} - c) / \tau_t \bigr)
          \log \operatorname{softmax}_k ( s_{vi} / \tau_s ) \Bigr),
          \qquad c \leftarrow m c + (1 - m) \operatorname{mean} t .

:math:`\tau_s = 0.1`, :math:`\tau_t = 0.04`, m = 0.9. The centre is that of all ranks, moves after use and
once per optimiser step. :math:`\tau_t` may rise linearly to ``final_teacher_temperature`` over
``warmup_steps`` optimiser steps (the release: 0.04 to 0.07 over 30 epochs). ``centering="sinkhorn"`` balances
the teacher by Sinkhorn-Knopp over its views together, as DINOv2 does.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from conjoin.core import distributed
from conjoin.core.objectives.nt_xent import check_temperature
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.sinkhorn import sinkhorn_knopp
from conjoin.core.objectives.soft_targets import soft_cross_entropy
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.views import Views, as_pairs, check_width

__all__ = ("DINO", "Centering", "moved_center", "teacher_probabilities", "warmed_up")

Centering = Literal["momentum", "sinkhorn"]


def teacher_probabilities(
    outputs: Sequence[Tensor], center: Tensor, temperature: Tensor, centering: Centering = "momentum"
) -> list[Tensor]:
    """Targets (n, K) of each teacher view, rows of sum 1.

    Args:
        outputs: (n, K) each, rows of this rank.
        center: (1, K); not used by ``"sinkhorn"``.
        temperature: Scalar.
        centering: ``"momentum"`` subtracts the centre, ``"sinkhorn"`` balances all views together.
    """
    if centering == "sinkhorn":
        joint = torch.cat(list(outputs)) / temperature
        return list(sinkhorn_knopp(joint, temperature=1.0).chunk(len(outputs)))
    return [torch.softmax((output - center) / temperature, dim=-1) for output in outputs]


def warmed_up(
    start: float, final: float | None, steps: Tensor, warmup_steps: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Linear from ``start`` at step 0 to ``final`` at ``warmup_steps``; scalar of the given type."""
    share = torch.clamp(steps.to(dtype) / max(1, warmup_steps), max=1)
    return start + share * ((start if final is None else final) - start)


def moved_center(center: Tensor, momentum: float, total: Tensor, rows: Tensor) -> Tensor:
    """The centre (1, K) after a step whose rows on this rank number ``rows`` and add up to ``total`` (K,)."""
    mean = distributed.all_reduce_sum(total) / distributed.all_reduce_sum(rows)
    return torch.lerp(mean.to(center.dtype), center, momentum)


class DINO(StatefulObjective):
    """DINO with its centre.

    Args:
        dim: Number K of the head's outputs.
        student_temperature: Fixed.
        teacher_temperature: At the first step.
        final_teacher_temperature: After the warm-up; ``teacher_temperature`` if not given.
        warmup_steps: Optimiser steps.
        center_momentum: How much of the centre stays in each optimiser step.
        centering: See :func:`teacher_probabilities`.
    """

    center: Tensor

    def __init__(
        self,
        dim: int = 65536,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        final_teacher_temperature: float | None = None,
        warmup_steps: int = 0,
        center_momentum: float = 0.9,
        centering: Centering = "momentum",
    ) -> None:
        super().__init__()
        if dim < 1 or warmup_steps < 0 or not 0 <= center_momentum <= 1:
            raise ValueError(
                "dim must be at least 1, warmup_steps at least 0 and center_momentum in [0, 1], not "
                f"{dim}, {warmup_steps}, {center_momentum}."
            )
        if centering not in get_args(Centering):
            raise ValueError(f"centering must be one of {get_args(Centering)}, not {centering!r}.")
        self.dim = dim
        self.student_temperature = check_temperature(student_temperature)
        self.teacher_temperature = check_temperature(teacher_temperature)
        self.final_teacher_temperature = (
            None if final_teacher_temperature is None else check_temperature(final_teacher_temperature)
        )
        self.warmup_steps = warmup_steps
        self.center_momentum = center_momentum
        self.centering: Centering = centering
        self.register_buffer("center", torch.zeros(1, dim))

    def temperature(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The teacher's temperature of this step."""
        start, final = self.teacher_temperature, self.final_teacher_temperature
        return warmed_up(start, final, self.steps, self.warmup_steps, dtype)

    def cross_entropy(self, students: Views, targets: Views) -> tuple[Tensor, list[Tensor]]:
        """The loss and the teacher's outputs, in full precision."""
        own, others, pairs = as_pairs(students, targets)
        check_width(own[0], self.dim, self)
        with torch.no_grad():
            center = self.center.to(own[0].dtype)
            temperature = self.temperature(center.dtype)
            probabilities = teacher_probabilities(others, center, temperature, self.centering)
        logits = [student / self.student_temperature for student in own]
        return soft_cross_entropy(logits, probabilities, pairs), others

    def forward(self, students: Views, targets: Views) -> ObjectiveOutput:
        """Score outputs (N, K), or stacks of V and T of them; see :mod:`conjoin.core.objectives`."""
        with torch.autocast(self.center.device.type, enabled=False):
            loss, teacher = self.cross_entropy(students, targets)
            self.observe(*outputs_seen(teacher))
        return ObjectiveOutput(loss)

    def commit(self, *seen: Tensor) -> None:
        """Move the centre by the teacher's outputs of one optimiser step."""
        self.center.copy_(moved_center(self.center, self.center_momentum, *seen))

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"dim={self.center.shape[1]}, student_temperature={self.student_temperature}, "
            f"teacher_temperature={self.teacher_temperature}, "
            f"final_teacher_temperature={self.final_teacher_temperature}, warmup_steps={self.warmup_steps}, "
            f"center_momentum={self.center_momentum}, centering={self.centering!r}"
        )


def outputs_seen(outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sum (K,) and number of the rows (..., K) of all views on this rank."""
    flat = [output.flatten(0, -2) for output in outputs]
    total = torch.stack([rows.sum(dim=0) for rows in flat]).sum(dim=0)
    return total, total.new_full((), sum(rows.shape[0] for rows in flat))

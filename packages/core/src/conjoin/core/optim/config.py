# SPDX-License-Identifier: Apache-2.0
"""The optimiser's settings as plain values, which a recipe can hold and a checkpoint can describe."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.distributed.tensor import DTensor
from torch.optim import SGD, AdamW, Optimizer

from conjoin.core.optim.lars import LARS
from conjoin.core.optim.schedules import Constant, Cosine, Delayed, Schedule, WarmupCosine

__all__ = ("Optim",)


@dataclass(frozen=True)
class Optim:
    """Optimiser, learning-rate schedule and weight-decay schedule; the defaults are I-JEPA's ViT-H/14.

    The learning rate rises linearly from ``start_lr`` to ``lr``, then falls along half a cosine to
    ``final_lr``; weight decay moves along half a cosine from ``weight_decay`` to
    ``final_weight_decay``. Gradient clipping belongs to the Trainer.

    Args:
        lr: Peak learning rate, absolute (not scaled by the batch size).
        start_lr: Learning rate before the warm-up.
        final_lr: Learning rate at the end.
        warmup_epochs: Length of the warm-up in epochs, fractions allowed.
        warmup_steps: The same in optimiser steps. Give one of the two or neither (no warm-up).
        weight_decay: Weight decay at the start.
        final_weight_decay: Weight decay at the end; ``None`` keeps it constant.
        schedule_stretch: Lays both curves over this multiple of the run, cutting off their tail.
        name: ``"adamw"``, ``"sgd"`` or ``"lars"``.
        betas: AdamW's moment decays.
        eps: AdamW's epsilon.
        momentum: Momentum of SGD and LARS.
        nesterov: Nesterov momentum for SGD.
        trust: Trust coefficient of LARS.
        fused: Fused kernel for AdamW and SGD; ``None`` uses it wherever the parameters allow.
        count_from: Number of the first optimiser step on both curves: 1 as in the I-JEPA release, or 0, by
            which it uses exactly ``start_lr`` and ``weight_decay``.

    Raises:
        ValueError: For a value out of its range, or a warm-up given twice.
    """

    lr: float = 1e-3
    start_lr: float = 2e-4
    final_lr: float = 1e-6
    warmup_epochs: float | None = None
    warmup_steps: int | None = None
    weight_decay: float = 0.04
    final_weight_decay: float | None = 0.4
    schedule_stretch: float = 1.0
    name: Literal["adamw", "sgd", "lars"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = False
    trust: float = 1e-3
    fused: bool | None = None
    count_from: Literal[0, 1] = 1

    def __post_init__(self) -> None:
        if self.warmup_epochs is not None and self.warmup_steps is not None:
            raise ValueError(
                f"Optim: warmup_epochs={self.warmup_epochs} and warmup_steps={self.warmup_steps} are both "
                "given; choose one."
            )
        if self.name not in ("adamw", "sgd", "lars"):
            raise ValueError(f"Optim: name is {self.name!r}; choose 'adamw', 'sgd' or 'lars'.")
        for field in (
            "lr", "start_lr", "final_lr", "warmup_epochs", "warmup_steps", "weight_decay",
            "final_weight_decay", "eps", "momentum", "trust",
        ):  # fmt: skip
            value = getattr(self, field)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"Optim: {field} is {value}; it must be a finite number of at least 0.")
        if not (self.schedule_stretch > 0 and math.isfinite(self.schedule_stretch)):
            raise ValueError(f"Optim: schedule_stretch is {self.schedule_stretch}; it must be positive.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"Optim: betas is {self.betas}; it must be two numbers in [0, 1).")
        if self.nesterov and self.momentum == 0:
            raise ValueError("Optim: nesterov needs a momentum above 0.")
        if self.count_from not in (0, 1):
            raise ValueError(f"Optim: count_from is {self.count_from}; it must be 0 or 1.")
        if self.fused and self.name == "lars":
            raise ValueError("Optim: LARS has no fused kernel; leave fused unset.")

    def build(self, groups: Iterable[dict[str, Any]], *, clips: bool = False) -> Optimizer:
        """Make the optimiser.

        Args:
            groups: What :func:`conjoin.core.optim.parameter_groups` returns.
            clips: Whether the Trainer will clip gradients. Lightning's mixed precision refuses to
                clip for a fused optimiser, so the automatic choice is then the unfused kernel.

        Returns:
            The optimiser with the peak learning rate and the first weight decay in its groups; the
            schedules write the real ones before each step.
        """
        # torch writes its defaults into the dictionaries it is given.
        groups = [dict(group) for group in groups]
        if self.name == "lars":
            return LARS(
                groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, trust=self.trust
            )
        parameters = [parameter for group in groups for parameter in group["params"]]
        fused = self.fused
        if fused is None:
            fused = not clips and all(
                torch.is_floating_point(p) and p.device.type in ("cpu", "cuda") for p in parameters
            )
        if self.name == "sgd":
            if self.fused is None:  # torch's fused SGD knows no sharded parameters, its AdamW does
                fused = fused and not any(isinstance(p, DTensor) for p in parameters)
            return SGD(
                groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay,
                nesterov=self.nesterov, fused=fused,
            )  # fmt: skip
        return AdamW(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=fused
        )

    def schedules(self, total_steps: int, steps_per_epoch: int) -> tuple[Schedule, Schedule]:
        """Learning rate and weight decay as functions of the number of finished optimiser steps.

        Args:
            total_steps: Optimiser steps of the whole run.
            steps_per_epoch: Optimiser steps of one epoch; turns ``warmup_epochs`` into steps.

        Raises:
            ValueError: If the run's length is not known (Lightning's ``max_epochs=-1``) or not positive.
        """
        if not math.isfinite(total_steps) or total_steps < 1:
            raise ValueError(
                f"Optim: schedules need the run's length in optimiser steps, got {total_steps}; "
                "set max_epochs or max_steps on the Trainer."
            )
        warmup = self.warmup_steps or 0
        if self.warmup_epochs is not None:
            warmup = int(self.warmup_epochs * steps_per_epoch)
        lr: Schedule = WarmupCosine(
            self.start_lr, self.lr, self.final_lr, warmup, total_steps, self.schedule_stretch
        )
        decay: Schedule = Constant(self.weight_decay)
        if self.final_weight_decay is not None:
            decay = Cosine(self.weight_decay, self.final_weight_decay, total_steps, self.schedule_stretch)
        return (lr, decay) if self.count_from else (Delayed(lr), Delayed(decay))

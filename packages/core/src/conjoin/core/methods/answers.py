# SPDX-License-Identifier: Apache-2.0
"""The answers of a split and what a model said to them, gathered until the end of an epoch.

Figures such as the root mean squared error or an area under a curve are not means over batches, and samplers
repeat samples to even out ranks: so outputs are kept, and each sample counts once.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conjoin.core.distributed import gather_rows
from conjoin.core.evaluation.roc import label_aucs
from conjoin.core.evaluation.task import FIELDS, Task

__all__ = ("Answers", "answers_of", "known", "loss_of", "score")


def answers_of(batch: dict[str, Any], task: Task) -> Tensor:
    """What a batch asks for: (B,), or (B, L) for several labels.

    Raises:
        ValueError: If the batch does not hold it.
    """
    name = FIELDS[task]
    if name not in batch:
        raise ValueError(
            f"A {task} task needs batches with {name!r}, and these have {', '.join(batch)}: choose another "
            "task, or other data."
        )
    found: Tensor = batch[name]
    return found


def known(answers: Tensor, task: Task) -> Tensor:
    """(B,) bool: which samples have an answer."""
    if task == "classification":
        return answers >= 0
    return ~answers.isnan() if answers.ndim == 1 else ~answers.isnan().any(dim=1)


def loss_of(outputs: Tensor, answers: Tensor, task: Task, label_smoothing: float = 0.0) -> Tensor:
    """Mean over the samples that have an answer: cross-entropy, squared error or binary cross-entropy.

    Args:
        outputs: (B, C) logits, (B, 1) numbers or (B, L) logits.
        answers: (B,) or (B, L).
        task: Which loss.
        label_smoothing: Share of each class label that is spread over all classes.
    """
    if task == "classification":
        each = F.cross_entropy(
            outputs, answers, ignore_index=-1, label_smoothing=label_smoothing, reduction="none"
        )
        return each.sum() / (answers >= 0).sum().clamp(min=1)
    right = known(answers, task)
    answers = answers.to(outputs).view_as(outputs)
    # Not a product with 0: the gradient of NaN would be NaN.
    safe = torch.where(right.unsqueeze(1), answers, outputs.detach())
    if task == "regression":
        each = (outputs - safe).square()
    else:
        each = F.binary_cross_entropy_with_logits(outputs, safe, reduction="none")
        each = each * right.unsqueeze(1)
    return each.mean(dim=1).sum() / right.sum().clamp(min=1)


def score(outputs: Tensor, answers: Tensor, task: Task) -> float:
    """Accuracy, root mean squared error, or macro AUC over the labels that vary (NaN if none does).

    Args:
        outputs: (N, C) logits, (N, 1) numbers or (N, L) logits.
        answers: (N,) or (N, L), all known.
        task: Which figure.
    """
    if task == "classification":
        return float((outputs.argmax(dim=1) == answers).to(torch.float64).mean())
    if task == "regression":
        return float((outputs.squeeze(1).to(torch.float64) - answers).square().mean().sqrt())
    return float(label_aucs(outputs, answers).nanmean())


class Answers:
    """Outputs and answers of a split, by the index of the samples."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, batch: dict[str, Any], outputs: Tensor, answers: Tensor) -> None:
        """Take in one batch."""
        # Samples without an index are told apart by a negative number of their own.
        start = sum(len(index) for index, _, _ in self._parts)
        own = -1 - start - torch.arange(len(outputs), device=outputs.device)
        self._parts.append((batch.get("index", own), outputs.detach().float(), answers))

    def compute(self, task: Task) -> float | None:
        """The figure over all ranks, None if no sample has an answer; starts anew."""
        if not self._parts:
            return None
        parts, self._parts = self._parts, []
        index, outputs, answers = (
            gather_rows(torch.cat(column)).cpu() for column in zip(*parts, strict=True)
        )
        order = index.argsort(stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = (ordered[1:] != ordered[:-1]) | (ordered[1:] < 0)
        chosen = order[first]
        chosen = chosen[known(answers[chosen], task)]
        return score(outputs[chosen], answers[chosen], task) if len(chosen) else None

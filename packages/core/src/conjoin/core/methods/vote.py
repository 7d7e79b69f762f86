# SPDX-License-Identifier: Apache-2.0
"""One answer of several: the mean over the looks of a sample, of logits or of probabilities.

ECG-JEPA averages the logits of overlapping windows of a recording, Point-JEPA's voting the probabilities of
ten renderings of a cloud. Both come back as logits, so that losses and figures are those of a single look.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from conjoin.core.data.looks import mean_of_looks
from conjoin.core.evaluation.task import Task

__all__ = ("VoteOn", "vote")

VoteOn = Literal["logits", "probabilities"]


def vote(outputs: Tensor, counts: Tensor, task: Task, on: VoteOn = "logits") -> Tensor:
    """Average the answers to the looks of each sample; numbers of a regression by their mean.

    Args:
        outputs: (R, C) float32 logits, or numbers, of all looks.
        counts: (B,) int64 looks per sample.
        task: What they answer.
        on: What is averaged; probabilities come back as logarithms, those of several labels as log odds.

    Returns:
        (B, C).
    """
    if on == "logits" or task == "regression":
        return mean_of_looks(outputs, counts)
    if task == "classification":
        return _log(mean_of_looks(outputs.softmax(dim=1), counts))
    # Odds from both sides: one minus a probability near 1 would lose all digits.
    yes, no = (mean_of_looks(F.sigmoid(sign * outputs), counts) for sign in (1, -1))
    return _log(yes) - _log(no)


def _log(probability: Tensor) -> Tensor:
    return probability.clamp_min(torch.finfo(probability.dtype).tiny).log()

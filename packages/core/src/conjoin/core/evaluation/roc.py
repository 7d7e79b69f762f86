# SPDX-License-Identifier: Apache-2.0
r"""Macro AUC: the unweighted mean over labels of the area under the ROC curve.

The figure of PTB-XL's benchmark (Strodthoff et al., arXiv 2004.13701). For a label with P positives and Q
negatives the area is the share of pairs that the scores order rightly, ties counting half, found from ranks
(Mann and Whitney):

.. math:: \mathrm{AUC} = \frac{\sum_{i \in \text{positives}} r_i - P (P + 1) / 2}{P\,Q}
"""

import warnings
from typing import Literal

import torch
from torch import Tensor

__all__ = ("label_aucs", "macro_auc")


def label_aucs(scores: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve of each label: float64 (L,), NaN where all samples or none have the label.

    Args:
        scores: (N, L), larger where the label is likelier.
        labels: (N, L) of 0 and 1.

    Raises:
        ValueError: If shapes differ, or a score is NaN.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(
            f"scores and labels must both be (N, L), got {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    if bool(scores.isnan().any()):
        raise ValueError("a score is NaN: the ROC curve has no place for it")
    positive = labels > 0.5
    count = positive.sum(dim=0).to(torch.float64)
    found = []
    for column, mask in zip(scores.T, positive.T, strict=True):
        _, inverse, sizes = torch.unique(column, return_inverse=True, return_counts=True)
        # The mean rank of each distinct score: ties share theirs.
        rank = sizes.cumsum(0).to(torch.float64) - (sizes - 1) / 2
        found.append(rank[inverse][mask].sum())
    rest = len(labels) - count
    pairs = count * rest
    return torch.where(pairs > 0, (torch.stack(found) - count * (count + 1) / 2) / pairs, torch.nan)


def macro_auc(scores: Tensor, labels: Tensor, *, constant: Literal["raise", "skip"] = "raise") -> float:
    """Mean AUC over labels.

    Args:
        scores: (N, L), larger where the label is likelier.
        labels: (N, L) of 0 and 1.
        constant: What to do about labels that all samples or none have: refuse, or leave them out with a
            warning.

    Raises:
        ValueError: If there is such a label and it may not be left out, or no other.
    """
    aucs = label_aucs(scores, labels)
    odd = aucs.isnan().nonzero().flatten().tolist()
    if odd and constant == "raise":
        raise ValueError(
            f"label {odd[0]} (and {len(odd) - 1} more) is the same for all samples, so it has no ROC curve: "
            'leave it out, or pass constant="skip"'
        )
    if len(odd) == len(aucs):
        raise ValueError("no label varies over the samples: there is no AUC")
    if odd:
        warnings.warn(f"{len(odd)} of {len(aucs)} labels do not vary and are left out: {odd}", stacklevel=2)
    return float(aucs.nanmean())

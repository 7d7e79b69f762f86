# SPDX-License-Identifier: Apache-2.0
"""The linear support-vector machine on frozen features, as papers on point clouds report it.

scikit-learn's ``SVC(kernel="linear")``: one against one, features as they are. It needs scikit-learn, which
is imported when a probe is fitted. Point-JEPA's cost of 0.012 suits features of its scale alone, so that the
validation split chooses among several: a baseline of another scale gets its chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from conjoin.core.evaluation.features import Features

__all__ = ("COSTS", "SVMChoice", "svm_probe")

COSTS = (0.012, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Candidates for the cost; the first is Point-JEPA's (arXiv 2404.16432)."""


@dataclass(frozen=True)
class SVMChoice:
    """What validation chose, and how well it did.

    Attributes:
        cost: Of a violated margin.
        val: Accuracy on the validation split.
        test: Accuracy on the test split.
    """

    cost: float
    val: float
    test: float


def svm_probe(train: Features, val: Features, test: Features, *, costs: Sequence[float] = COSTS) -> SVMChoice:
    """Fit on train, choose the cost on val, look at test.

    Args:
        train: Labelled features (N, D) of at least two classes.
        val: The same.
        test: The same.
        costs: Candidates; among equals the first wins. ``(0.012,)`` is the paper's protocol.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there is no positive cost, or train has one class only.
    """
    try:
        from sklearn.svm import SVC
    except ImportError as error:
        raise ImportError("The svm probe needs scikit-learn: python -m pip install scikit-learn.") from error
    if not costs or min(costs) <= 0:
        raise ValueError(f"costs must be one or more positive numbers, not {tuple(costs)}.")
    if not bool((train.label != train.label[:1]).any()):
        raise ValueError("A support-vector machine needs training features of at least two classes.")
    best: SVMChoice | None = None
    for cost in costs:
        machine = SVC(kernel="linear", C=cost).fit(_rows(train.x), train.label.numpy())
        scores = [float(machine.score(_rows(part.x), part.label.numpy())) for part in (val, test)]
        if best is None or scores[0] > best.val:
            best = SVMChoice(cost, *scores)
    assert best is not None
    return best


def _rows(x: Tensor) -> object:
    return x.flatten(1).double().cpu().numpy()

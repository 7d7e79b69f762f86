# SPDX-License-Identifier: Apache-2.0
r"""The linear probe: multinomial logistic regression on standardised frozen features.

.. math::

    \min_{W, b} \; \tfrac1N \sum_i \operatorname{CE}(W x_i + b, y_i) + \tfrac{\lambda}{2} \lVert W \rVert_F^2

by full-batch L-BFGS from zero, so there is no learning rate, no seed and no order of the data to
choose. (scikit-learn's ``C`` is :math:`1 / (\lambda N)`.) The strength :math:`\lambda` is chosen on the
validation split along a path from strong to weak, each solution starting the next.

The penalty does not change under rotation, so the problem is solved in the principal axes of the
training features, in at most min(N, D) coordinates, and exactly so. There the features are
uncorrelated and one number per axis preconditions the descent: at zero weights the curvature along
an axis of variance :math:`v_j` is :math:`v_j / C + \lambda`. When both N and D exceed ``EXACT_UP_TO``, as
for raw pixels, only the ``LEADING`` leading axes are kept, found by subspace iteration from keyed
random directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core import random
from conjoin.core.evaluation.features import Features, accuracy

__all__ = (
    "EXACT_UP_TO",
    "LEADING",
    "PATIENT_UNTIL",
    "LinearChoice",
    "LinearClassifier",
    "fit_linear",
    "linear_probe",
)

EXACT_UP_TO = 2048
LEADING = 512
PATIENT_UNTIL = 1e-3


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted probe on raw (not standardised) features.

    Attributes:
        mean: (D,) of the training features.
        std: (D,) of the training features, 1 where they are constant.
        weight: (C, D) on standardised features.
        bias: (C,).
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, x: Tensor) -> Tensor:
        """(N, C) for features (N, D)."""
        scaled = self.weight / self.std
        return x @ scaled.T + (self.bias - scaled @ self.mean)

    def predict(self, x: Tensor) -> Tensor:
        """(N,) classes for features (N, D)."""
        return self.logits(x).argmax(dim=1)


@dataclass(frozen=True)
class LinearChoice:
    """What validation chose, and how well it did.

    Attributes:
        l2: The strength.
        val: Accuracy on the validation split.
        test: Accuracy on the test split.
        classifier: The probe with that strength.
    """

    l2: float
    val: float
    test: float
    classifier: LinearClassifier


def standardiser(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of rows (N, D); 1 for features that are constant up to rounding."""
    std, mean = torch.std_mean(x, dim=0, correction=0)
    noise = 1e-6 * mean.abs()
    return mean, torch.where(std > noise, std, torch.ones_like(std))


def fit_linear(
    x: Tensor,
    label: Tensor,
    l2: float,
    *,
    classes: int,
    start: tuple[Tensor, Tensor] | None = None,
    max_iter: int = 100,
    tolerance: float = 1e-4,
) -> tuple[Tensor, Tensor]:
    """Minimise the penalised cross-entropy.

    Args:
        x: (N, D), centred by the caller, fast when its columns are uncorrelated; its type is the
            precision of the work.
        label: (N,) in ``range(classes)``.
        l2: Strength on the weights; the bias is free.
        classes: C.
        start: Weight and bias to begin from; zero if not given.
        max_iter: L-BFGS iterations.
        tolerance: Largest entry of the preconditioned gradient at which it stops.

    Returns:
        Weight (C, D) and bias (C,).
    """
    weight, bias = start or (x.new_zeros(classes, x.shape[1]), x.new_zeros(classes))
    scale = (x.square().mean(0) / classes + l2).sqrt()
    # The unknowns are those in which the curvature is about one in every direction.
    unknown, offset = weight * scale, bias.clone()
    rows = torch.arange(len(x), device=x.device)
    optimizer = torch.optim.LBFGS(
        [unknown, offset],
        max_iter=max_iter,
        tolerance_grad=tolerance,
        tolerance_change=1e-3 * tolerance,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def closure() -> Tensor:
        # The gradient written out: half the memory of autograd, and no graph under inference mode.
        weight = unknown / scale
        log_p = torch.addmm(offset, x, weight.T).log_softmax(dim=1)
        loss = -log_p[rows, label].mean() + l2 / 2 * weight.square().sum()
        error = log_p.exp_()
        error[rows, label] -= 1
        error /= len(x)
        unknown.grad = torch.addmm(weight, error.T, x, beta=l2) / scale
        offset.grad = error.sum(0)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return unknown / scale, offset


def linear_probe(
    train: Features,
    val: Features,
    test: Features,
    *,
    classes: int,
    strengths: Sequence[float] = (100.0, 10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5),
    max_iter: int = 100,
) -> LinearChoice:
    """Fit on ``train``, choose the strength on ``val``, measure once on ``test``.

    The path goes from strong to weak. Below ``PATIENT_UNTIL`` it ends early when two strengths in a row have
    not improved on the best so far: weaker ones only fit the training set more closely. Above it nothing is
    concluded, because features that share one loud direction look useless until the penalty lets go of it.

    Raises:
        ValueError: No strength, or a label outside ``range(classes)``.
    """
    if not strengths:
        raise ValueError("linear_probe needs at least one L2 strength")
    if int(train.label.min()) < 0 or int(train.label.max()) >= classes:
        raise ValueError(
            f"training labels span {int(train.label.min())} to {int(train.label.max())}, "
            f"but there are {classes} classes"
        )
    mean, std = standardiser(train.x)
    x, axes = principal_axes((train.x - mean) / std)
    best: LinearChoice | None = None
    solution: tuple[Tensor, Tensor] | None = None
    worse = 0
    for l2 in sorted(strengths, reverse=True):
        solution = fit_linear(x, train.label, l2, classes=classes, start=solution, max_iter=max_iter)
        classifier = LinearClassifier(mean, std, solution[0] @ axes, solution[1])
        score = accuracy(classifier.predict(val.x), val.label)
        if best is None or score > best.val:
            best, worse = LinearChoice(l2, score, 0.0, classifier), 0
        else:
            worse += 1
            if worse >= 2 and l2 <= PATIENT_UNTIL:
                break
    assert best is not None
    test_score = accuracy(best.classifier.predict(test.x), test.label)
    return LinearChoice(best.l2, best.val, test_score, best.classifier)


@torch.no_grad()
def principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, R) of centred rows (N, D) along their principal axes, and these axes (R, D).

    R is the rank, or ``LEADING`` if both N and D exceed ``EXACT_UP_TO``.
    """
    rows, width = x.shape
    if min(rows, width) > EXACT_UP_TO:
        axes = _leading_axes(x)
        return x @ axes.T, axes
    wide = x.to(torch.float64)
    square, vectors = torch.linalg.eigh(wide @ wide.T if rows < width else wide.T @ wide)
    # Flipped: leading axis first.
    keep = (
        (square > 1e-10 * square[-1].clamp(min=torch.finfo(torch.float64).tiny)).nonzero().flatten().flip(0)
    )
    vectors = vectors[:, keep]
    if rows < width:
        scale = square[keep].sqrt()
        return (vectors * scale).to(x.dtype), ((vectors / scale).T @ wide).to(x.dtype)
    axes = vectors.T.to(x.dtype)
    return x @ axes.T, axes


def _leading_axes(x: Tensor) -> Tensor:
    """(LEADING, D) leading right singular vectors.

    Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 2011, algorithm 4.4.
    """
    count = LEADING + LEADING // 8
    keys = random.fold(random.key(0, "principal_axes"), torch.arange(x.shape[1]))
    basis = torch.linalg.qr(x @ random.normal(keys, count).to(x)).Q
    for _ in range(2):
        basis = torch.linalg.qr(x @ torch.linalg.qr(x.T @ basis).Q).Q
    small = basis.T @ x
    square, vectors = torch.linalg.eigh(small.to(torch.float64) @ small.T.to(torch.float64))
    lead = slice(-LEADING, None)
    axes: Tensor = (vectors[:, lead] / square[lead].sqrt()).T.to(x.dtype) @ small
    return axes.flip(0)

# SPDX-License-Identifier: Apache-2.0
"""Rules that say, without labels, that a representation is dying.

A rule looks at one measurement of the :class:`~conjoin.core.callbacks.RepresentationMonitor` and at
the first one that is comparable with it, and answers with a sentence or with nothing.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

__all__ = (
    "Alarm",
    "AssignmentCollapse",
    "FeatureStdCollapse",
    "LowContentShare",
    "NonFiniteLoss",
    "ProjectionCollapse",
    "RankMeDrop",
    "Reading",
)


@dataclass(frozen=True)
class Reading:
    """One measurement.

    Attributes:
        step: Optimiser steps done.
        rankme: Effective rank of the recent embeddings.
        content_share: Of the targets, NaN if the method has none.
        feature_std: Mean over features of the standard deviation of L2-normalised embeddings times
            sqrt(D): 1 when they spread evenly, 0 when all are equal.
        loss_is_finite: Whether every loss since the last measurement was.
        comparable: Whether there were enough embeddings for ``rankme`` to be compared.
        projection_std: As ``feature_std``, of the projections that the objective saw in one step, NaN if the
            method has none.
        projection_scale: Mean over columns of the standard deviation of the projections themselves.
        projection_rankme: Effective rank of the projections of one step (1024 at most), NaN if the method has
            none.
        assignment_information: Mutual information of sample and prototype in one step, as a share of the most
            that there can be, NaN if the method has no prototypes.
    """

    step: int
    rankme: float
    content_share: float
    feature_std: float
    loss_is_finite: bool
    comparable: bool
    projection_std: float = math.nan
    projection_scale: float = math.nan
    projection_rankme: float = math.nan
    assignment_information: float = math.nan


@dataclass(frozen=True)
class Alarm(ABC):
    """A rule. It speaks once, after ``patience`` measurements in a row on which it held.

    Attributes:
        patience: How many.
    """

    patience: int = 2

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")

    @abstractmethod
    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """What is wrong, in one sentence, or ``None``.

        Args:
            reading: The measurement.
            reference: The run's first comparable measurement, ``None`` before there is one.
        """


@dataclass(frozen=True)
class RankMeDrop(Alarm):
    """RankMe has fallen below a fraction of its first comparable value."""

    fraction: float = 0.25

    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """See :class:`Alarm`."""
        if reference is None or not reading.comparable or reading.rankme >= self.fraction * reference.rankme:
            return None
        return (
            f"RankMe is {reading.rankme:.1f}, below {self.fraction:g} of its value {reference.rankme:.1f} "
            f"at step {reference.step}: the embedding is losing dimensions; lower the learning rate, "
            "or strengthen what prevents collapse (EMA momentum, variance or covariance terms)"
        )


@dataclass(frozen=True)
class LowContentShare(Alarm):
    """The targets no longer differ between samples at the same position."""

    patience: int = 3
    threshold: float = 0.02

    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """See :class:`Alarm`."""
        if math.isnan(reading.content_share) or reading.content_share >= self.threshold:
            return None
        return (
            f"only {reading.content_share:.2g} of the targets' variance differs between samples at the "
            f"same position (threshold {self.threshold:g}): the targets are functions of position, so the "
            "loss can fall with nothing learned; use an initialisation in which content outweighs position "
            "(larger patch embedding)"
        )


@dataclass(frozen=True)
class FeatureStdCollapse(Alarm):
    """All samples have nearly the same embedding.

    Attributes:
        patience: How many measurements in a row.
        threshold: Least relative standard deviation.
        fraction: The same, as a fraction of the first comparable one.
    """

    threshold: float = 1e-3
    fraction: float = 0.1

    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """See :class:`Alarm`."""
        first = 0.0 if reference is None else reference.feature_std
        threshold = max(self.threshold, self.fraction * first)
        if reading.feature_std >= threshold:
            return None
        return (
            f"embeddings of different samples are nearly equal (relative standard deviation "
            f"{reading.feature_std:.2g}, threshold {threshold:.2g}): the representation has collapsed; "
            "lower the learning rate or strengthen what prevents collapse"
        )


@dataclass(frozen=True)
class ProjectionCollapse(Alarm):
    """The projections that the objective compares are nearly parallel, or nearly nothing.

    What an encoder shows lags behind: norms and residual branches keep its features apart for long after
    the projections have died, so two-view systems are watched where their loss is taken. Objectives that
    compare directions die by parallel projections, others (VICReg, LeJEPA) also by short ones.

    Attributes:
        patience: How many measurements in a row.
        threshold: Least relative standard deviation of directions.
        fraction: Least standard deviation, as a fraction of the first comparable one.
    """

    patience: int = 3
    threshold: float = 0.2
    fraction: float = 0.1

    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """See :class:`Alarm`."""
        advice = (
            "the loss can fall with nothing learned; strengthen what prevents collapse (teacher, "
            "stop-gradient and predictor, or variance and covariance terms)"
        )
        if reading.projection_std < self.threshold:
            return (
                "projections of different samples are nearly parallel (relative standard deviation "
                f"{reading.projection_std:.2g}, threshold {self.threshold:g}): {advice}"
            )
        if reference is not None and reading.projection_scale < self.fraction * reference.projection_scale:
            share = reading.projection_scale / reference.projection_scale
            return (
                f"projections of different samples differ by {share:.2g} of what they did at step "
                f"{reference.step} (threshold {self.fraction:g}): {advice}"
            )
        return None


@dataclass(frozen=True)
class AssignmentCollapse(Alarm):
    """Which prototypes a sample has says nothing about it (DINO, iBOT).

    Of probabilities p of one step's samples, the entropy of their mean less the mean of their entropies:
    near 0 both when all samples have one prototype and when every sample has all alike. They are nearly so
    for some steps at the start, while the centre finds its place, so the rule waits.

    Attributes:
        patience: How many measurements in a row.
        threshold: Least mutual information, as a share of log min(samples, prototypes).
        start: Optimiser steps before which the rule is silent.
    """

    patience: int = 3
    threshold: float = 1e-3
    start: int = 100

    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """See :class:`Alarm`."""
        if reading.step < self.start or not reading.assignment_information < self.threshold:
            return None
        return (
            f"samples and their prototypes share {max(reading.assignment_information, 0.0):.2g} of the "
            f"information that they could (threshold {self.threshold:g}): all samples have one prototype, or "
            "each has all alike; check the centre and the temperatures, freeze the prototypes for longer, or "
            "lower the learning rate"
        )


@dataclass(frozen=True)
class NonFiniteLoss(Alarm):
    """The loss was NaN or infinite."""

    patience: int = 1

    def check(self, reading: Reading, reference: Reading | None) -> str | None:
        """See :class:`Alarm`."""
        if reading.loss_is_finite:
            return None
        return "the loss became NaN or infinite: lower the learning rate, clip gradients, or train in float32"

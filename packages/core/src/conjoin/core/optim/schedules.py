# SPDX-License-Identifier: Apache-2.0
"""Schedules: pure functions of the optimiser step, so a resumed run needs no scheduler state.

``schedule(step)`` is the value used by the optimiser step that follows ``step`` finished ones:
``schedule(0)`` belongs to the first. Past their end schedules hold their last value.

The I-JEPA release (facebookresearch/ijepa, commit 52c1ae9) counts learning-rate and weight-decay
steps from k = 1 and teacher momenta from i = 0; in both cases the first optimiser step uses the
first value, so ``k = step + 1`` and ``i = step``. ``stretch`` is its ``ipe_scale``: the curve is laid
out over ``stretch`` times the run, whose end then cuts off the tail.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ("Constant", "Cosine", "CosineMomentum", "Delayed", "Linear", "Schedule", "WarmupCosine")

Schedule = Callable[[int], float]


def _check(total_steps: int, stretch: float) -> None:
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; a schedule needs at least one optimiser step.")
    if not stretch > 0:
        raise ValueError(f"stretch is {stretch}; it must be positive (1.0 lays the curve over the run).")


def _half_cosine(start: float, end: float, progress: float) -> float:
    """``start`` at progress 0, ``end`` from progress 1 on."""
    if progress >= 1:
        return end
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Constant:
    """The same value at every step."""

    value: float

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """``start + i (end - start) / (stretch * total_steps)`` with i = step: I-JEPA's teacher momentum."""

    start: float
    end: float
    total_steps: int
    stretch: float = 1.0

    def __post_init__(self) -> None:
        _check(self.total_steps, self.stretch)

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        progress = step / (self.stretch * self.total_steps)
        return (
            self.end
            if progress >= 1
            else self.start + step * ((self.end - self.start) / (self.stretch * self.total_steps))
        )


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from ``start`` to ``end``, reached at the last step: I-JEPA's weight decay."""

    start: float
    end: float
    total_steps: int
    stretch: float = 1.0

    def __post_init__(self) -> None:
        _check(self.total_steps, self.stretch)

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        return _half_cosine(self.start, self.end, (step + 1) / max(1, int(self.stretch * self.total_steps)))


@dataclass(frozen=True)
class CosineMomentum:
    """BYOL's teacher momentum ``1 - (1 - base) (cos(pi i / K) + 1) / 2`` (Grill et al. 2020, section 3.3).

    It starts at ``base`` and reaches ``end`` (1 in the paper) after ``total_steps``.
    """

    base: float
    total_steps: int
    end: float = 1.0

    def __post_init__(self) -> None:
        _check(self.total_steps, 1.0)

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        return _half_cosine(self.base, self.end, step / self.total_steps)


@dataclass(frozen=True)
class WarmupCosine:
    """Linear rise from ``start`` to ``peak`` over ``warmup_steps``, then half a cosine to ``final``.

    With k = step + 1, W = ``warmup_steps`` and T = ``int(stretch * total_steps)``: for k < W the value is
    ``start + (peak - start) k / W``, afterwards
    ``final + (peak - final) (1 + cos(pi (k - W) / (T - W))) / 2``.
    """

    start: float
    peak: float
    final: float
    warmup_steps: int
    total_steps: int
    stretch: float = 1.0

    def __post_init__(self) -> None:
        _check(self.total_steps, self.stretch)
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}; it cannot be negative.")

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        k = step + 1
        if k < self.warmup_steps:
            return self.start + (self.peak - self.start) * k / self.warmup_steps
        rest = int(self.stretch * self.total_steps) - self.warmup_steps
        return _half_cosine(self.peak, self.final, (k - self.warmup_steps) / max(1, rest))


@dataclass(frozen=True)
class Delayed:
    """Another schedule one step later: what counts its steps from 1 counts them from 0 this way.

    Cosines and warm-ups above belong to k = step + 1; delayed they take k = step, so that the first optimiser
    step has exactly their first value.
    """

    schedule: Schedule

    def __call__(self, step: int) -> float:
        """The value at ``step``."""
        return self.schedule(step - 1)

# SPDX-License-Identifier: Apache-2.0
r"""Finding the discrete steps in which eigenvalues of the embedding are learned.

Simon et al., "On the stepwise nature of self-supervised learning", ICML 2023, arXiv 2303.15438: from
a small initialisation the modes of a joint-embedding model are learned one after another. Mode
:math:`j` grows as

.. math:: s_j(t) = e^{4 \gamma_j t} / \sqrt{s_j(0)^{-2} + (e^{8 \gamma_j t} - 1) \gamma_j},

so in log-log coordinates its eigenvalue is flat, then far steeper than any power law, then flat.

**The rule.** For each eigenvalue on its own, between neighbouring measurements the slope
``d ln l / d ln t`` is taken. Neighbouring intervals with a slope of at least ``min_slope`` make one
rise; a rise counts as a step if it multiplies the eigenvalue by at least ``min_rise``. Its time is
where the eigenvalue passes half of the level at which the rise ends, interpolated linearly in
log-log: for a mode that starts small this is the closed form's half-rise time. Values below ``floor``
times the largest eigenvalue of the run are noise and are lifted to that floor.
"""

import torch
from torch import Tensor

__all__ = ("detect_steps", "is_log_spaced")


def is_log_spaced(step: int, per_decade: int) -> bool:
    """Whether ``step`` is one of ``round(10 ** (k / per_decade))``, k = 0, 1, ..."""
    if step < 1:
        return False
    # Digits of a power decide here, not the rounding of a logarithm: try the two neighbours too.
    near = round(per_decade * torch.tensor(float(step), dtype=torch.float64).log10().item())
    return any(round(10 ** (k / per_decade)) == step for k in (near - 1, near, near + 1))


def detect_steps(
    steps: Tensor,
    eigenvalues: Tensor,
    *,
    min_slope: float = 2.0,
    min_rise: float = 10.0,
    floor: float = 1e-8,
) -> list[tuple[float, int]]:
    """Discrete steps of a trajectory of eigenvalues.

    Args:
        steps: Times of the measurements (T,), positive and ascending.
        eigenvalues: (T, D), descending along D.
        min_slope: Least log-log slope of a rise.
        min_rise: Least factor of a rise.
        floor: Noise level, relative to the largest eigenvalue of the trajectory.

    Returns:
        ``(time, index of the eigenvalue)`` in the order of time.
    """
    if len(steps) < 2 or not bool((eigenvalues > 0).any()):
        return []
    time = steps.to(torch.float64).log()
    values = eigenvalues.to(torch.float64)
    level = values.clamp(min=float(values.max()) * floor).log()
    steep = ((level[1:] - level[:-1]) / (time[1:] - time[:-1]).unsqueeze(1) >= min_slope).tolist()
    found: list[tuple[float, int]] = []
    for j in range(level.shape[1]):
        start: int | None = None
        for t in range(len(time)):
            rising = t < len(steep) and steep[t][j]
            if rising and start is None:
                start = t
            elif not rising and start is not None:
                if level[t, j] - level[start, j] >= torch.tensor(min_rise).log():
                    found.append((_half_rise(time[start : t + 1], level[start : t + 1, j]), j))
                start = None
    return sorted(found)


def _half_rise(time: Tensor, level: Tensor) -> float:
    """When a rising level (log) passes half of its last value, in the units of ``exp(time)``."""
    half = level[-1] - torch.tensor(2.0, dtype=level.dtype).log()
    after = int((level >= half).to(torch.int64).argmax())
    share = (half - level[after - 1]) / (level[after] - level[after - 1])
    return float((time[after - 1] + share * (time[after] - time[after - 1])).exp())

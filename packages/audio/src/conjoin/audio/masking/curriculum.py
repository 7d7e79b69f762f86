# SPDX-License-Identifier: Apache-2.0
r"""From random blocks to time-frequency aware ones in the course of training.

A-JEPA uses the competence schedule of Platanios et al. (2019, arXiv 1903.09848): at optimiser step :math:`s`
of :math:`S` the hard masks are chosen with probability

.. math:: f(s) = \min\Bigl(1, \sqrt{s\,(1 - c_0^2) / S + c_0^2}\Bigr), \quad c_0 = 0.01.
"""

import math
from typing import Literal, get_args

__all__ = ("Curriculum", "competence", "hard_share")

Curriculum = Literal["rising", "falling", "always", "never"]
"""How often the hard masks are used: more and more (the paper), less and less, always, never."""


def competence(step: int, steps: int, start: float = 0.01) -> float:
    """The competence f after ``step`` of ``steps`` optimiser steps; ``start`` is that of the first.

    Raises:
        ValueError: If ``start`` lies outside [0, 1] or the run has no steps.
    """
    if not 0 <= start <= 1:
        raise ValueError(f"The curriculum starts at a share between 0 and 1, not {start}.")
    if steps < 1:
        raise ValueError(f"The curriculum needs a run of at least one step, not {steps}.")
    return min(1.0, math.sqrt(step * (1 - start**2) / steps + start**2))


def hard_share(curriculum: Curriculum, step: int, steps: int, start: float = 0.01) -> float:
    """Probability of the hard masks.

    Raises:
        ValueError: For an unknown curriculum, and as :func:`competence` does.
    """
    match curriculum:
        case "rising":
            return competence(step, steps, start)
        case "falling":
            return 1 - competence(step, steps, start)
        case "always":
            return 1.0
        case "never":
            return 0.0
    raise ValueError(f"curriculum must be one of {', '.join(get_args(Curriculum))}, not {curriculum!r}.")

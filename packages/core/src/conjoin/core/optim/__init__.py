# SPDX-License-Identifier: Apache-2.0
"""Optimisers as plain settings, schedules as functions of the step, parameter groups, LARS."""

from conjoin.core.optim.config import Optim
from conjoin.core.optim.groups import parameter_groups, set_hyperparameters
from conjoin.core.optim.lars import LARS
from conjoin.core.optim.schedules import (
    Constant,
    Cosine,
    CosineMomentum,
    Delayed,
    Linear,
    Schedule,
    WarmupCosine,
)

__all__ = (
    "LARS",
    "Constant",
    "Cosine",
    "CosineMomentum",
    "Delayed",
    "Linear",
    "Optim",
    "Schedule",
    "WarmupCosine",
    "parameter_groups",
    "set_hyperparameters",
)

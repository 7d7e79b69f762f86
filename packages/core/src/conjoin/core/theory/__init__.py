# SPDX-License-Identifier: Apache-2.0
"""Solvable models of joint-embedding training, for checks with a known answer and for reading real runs.

``stepwise``: when each dimension of an embedding is learned and what it ends with. ``deep_linear``: in which
order latent prediction and reconstruction learn features.
"""

from conjoin.core.theory.deep_linear import (
    DeepLinear,
    DeepLinearJEPA,
    DeepLinearMAE,
    JEPAFlow,
    MAEFlow,
    ModeFlow,
    dynamic_pairs,
    static_pairs,
)
from conjoin.core.theory.stepwise import (
    contrastive_gamma,
    critical_times,
    embedding_alignment,
    final_embedding,
    kernel_gamma,
    mode_trajectory,
    predicted_loss,
    simulate_flow,
    stepwise_loss,
)

__all__ = (
    "DeepLinear",
    "DeepLinearJEPA",
    "DeepLinearMAE",
    "JEPAFlow",
    "MAEFlow",
    "ModeFlow",
    "contrastive_gamma",
    "critical_times",
    "dynamic_pairs",
    "embedding_alignment",
    "final_embedding",
    "kernel_gamma",
    "mode_trajectory",
    "predicted_loss",
    "simulate_flow",
    "static_pairs",
    "stepwise_loss",
)

# SPDX-License-Identifier: Apache-2.0
"""Base classes of systems."""

from conjoin.core.methods.contrastive import Contrastive
from conjoin.core.methods.fine_tune import FineTune
from conjoin.core.methods.head import Head
from conjoin.core.methods.jepa import JEPA
from conjoin.core.methods.joint_embedding import JointEmbedding, StepOutput
from conjoin.core.methods.local_redundancy_reduction import LocalRedundancyReduction
from conjoin.core.methods.masked_self_distillation import MaskedSelfDistillation
from conjoin.core.methods.multi_view import MultiViewBase
from conjoin.core.methods.redundancy_reduction import RedundancyReduction
from conjoin.core.methods.self_distillation import SelfDistillation

__all__ = (
    "JEPA",
    "Contrastive",
    "FineTune",
    "Head",
    "JointEmbedding",
    "LocalRedundancyReduction",
    "MaskedSelfDistillation",
    "MultiViewBase",
    "RedundancyReduction",
    "SelfDistillation",
    "StepOutput",
)

# SPDX-License-Identifier: Apache-2.0
"""Base classes of systems."""

from conjoin.core.methods.fine_tune import FineTune
from conjoin.core.methods.jepa import JEPA
from conjoin.core.methods.joint_embedding import JointEmbedding, StepOutput

__all__ = ("JEPA", "FineTune", "JointEmbedding", "StepOutput")

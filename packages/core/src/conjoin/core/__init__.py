# SPDX-License-Identifier: Apache-2.0
"""conjoin.core: joint-embedding self-supervised learning on PyTorch Lightning."""

from conjoin.core.methods import JEPA, JointEmbedding

__all__ = ("JEPA", "JointEmbedding")

# SPDX-License-Identifier: Apache-2.0
"""Label-free measures of a representation, as functions and as torchmetrics classes."""

from conjoin.core.metrics.content import ContentMoments, ContentShare, content_share
from conjoin.core.metrics.representation import (
    AlphaReQ,
    EmbeddingEigenvalues,
    NESum,
    RankMe,
    SelfCluster,
    StableRank,
)
from conjoin.core.metrics.spectrum import (
    PowerLaw,
    alpha_req,
    embedding_eigenvalues,
    nesum,
    participation_ratio,
    power_law,
    rankme,
    self_cluster,
    singular_values,
    stable_rank,
)

__all__ = (
    "AlphaReQ",
    "ContentMoments",
    "ContentShare",
    "EmbeddingEigenvalues",
    "NESum",
    "PowerLaw",
    "RankMe",
    "SelfCluster",
    "StableRank",
    "alpha_req",
    "content_share",
    "embedding_eigenvalues",
    "nesum",
    "participation_ratio",
    "power_law",
    "rankme",
    "self_cluster",
    "singular_values",
    "stable_rank",
)

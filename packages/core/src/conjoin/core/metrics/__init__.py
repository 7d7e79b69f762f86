# SPDX-License-Identifier: Apache-2.0
"""Label-free measures of a representation, as functions and as torchmetrics classes."""

from conjoin.core.metrics.alignment import Alignment, alignment
from conjoin.core.metrics.clid import Clid, ClidParts, clid, cluster_learnability
from conjoin.core.metrics.coherence import Coherence, coherence
from conjoin.core.metrics.condition import PseudoConditionNumber, pseudo_condition_number
from conjoin.core.metrics.content import ContentMoments, ContentShare, content_share
from conjoin.core.metrics.correlation import kendall, spearman
from conjoin.core.metrics.intrinsic_dimension import intrinsic_dimension
from conjoin.core.metrics.kmeans import kmeans
from conjoin.core.metrics.lidar import LiDAR, lidar
from conjoin.core.metrics.quality import MEASURES, PAIRWISE_ROWS, Measure, label_free
from conjoin.core.metrics.representation import (
    AlphaReQ,
    EmbeddingEigenvalues,
    NESum,
    RankMe,
    SelfCluster,
    StableRank,
)
from conjoin.core.metrics.rows import RowMetric
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
from conjoin.core.metrics.uniformity import Uniformity, uniformity

__all__ = (
    "MEASURES",
    "PAIRWISE_ROWS",
    "Alignment",
    "AlphaReQ",
    "Clid",
    "ClidParts",
    "Coherence",
    "ContentMoments",
    "ContentShare",
    "EmbeddingEigenvalues",
    "LiDAR",
    "Measure",
    "NESum",
    "PowerLaw",
    "PseudoConditionNumber",
    "RankMe",
    "RowMetric",
    "SelfCluster",
    "StableRank",
    "Uniformity",
    "alignment",
    "alpha_req",
    "clid",
    "cluster_learnability",
    "coherence",
    "content_share",
    "embedding_eigenvalues",
    "intrinsic_dimension",
    "kendall",
    "kmeans",
    "label_free",
    "lidar",
    "nesum",
    "participation_ratio",
    "power_law",
    "pseudo_condition_number",
    "rankme",
    "self_cluster",
    "singular_values",
    "spearman",
    "stable_rank",
    "uniformity",
)

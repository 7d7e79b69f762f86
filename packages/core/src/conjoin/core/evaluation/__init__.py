# SPDX-License-Identifier: Apache-2.0
"""What a frozen representation is worth: features, probes, label budgets, baselines, one table."""

from conjoin.core.evaluation.attentive import AttentiveChoice, AttentiveClassifier, attentive_probe
from conjoin.core.evaluation.budgets import draw_labels
from conjoin.core.evaluation.features import Embedder, Features, extract, raw_input
from conjoin.core.evaluation.knn import KNNChoice, Votes, knn_probe
from conjoin.core.evaluation.linear import LinearChoice, LinearClassifier, fit_linear, linear_probe
from conjoin.core.evaluation.protocol import evaluate
from conjoin.core.evaluation.table import Row, Table

__all__ = (
    "AttentiveChoice",
    "AttentiveClassifier",
    "Embedder",
    "Features",
    "KNNChoice",
    "LinearChoice",
    "LinearClassifier",
    "Row",
    "Table",
    "Votes",
    "attentive_probe",
    "draw_labels",
    "evaluate",
    "extract",
    "fit_linear",
    "knn_probe",
    "linear_probe",
    "raw_input",
)

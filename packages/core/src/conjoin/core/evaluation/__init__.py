# SPDX-License-Identifier: Apache-2.0
"""What a frozen representation is worth: features, probes, label budgets, baselines, one table."""

from conjoin.core.evaluation.attentive import AttentiveChoice, AttentiveClassifier, attentive_probe
from conjoin.core.evaluation.budgets import draw_labels
from conjoin.core.evaluation.features import Embedder, Features, extract, raw_input
from conjoin.core.evaluation.few_shot import FewShot, few_shot
from conjoin.core.evaluation.knn import KNNChoice, Votes, knn_probe
from conjoin.core.evaluation.linear import LinearChoice, LinearClassifier, fit_linear, linear_probe
from conjoin.core.evaluation.mlp import MLPChoice, mlp_probe
from conjoin.core.evaluation.multilabel import (
    MultiLabelChoice,
    MultiLabelFeatures,
    attentive_multilabel_probe,
    extract_multilabel,
    linear_multilabel_probe,
)
from conjoin.core.evaluation.protocol import evaluate
from conjoin.core.evaluation.regression import (
    RegressionChoice,
    RegressionTable,
    knn_regression,
    ridge_probe,
    rmse,
)
from conjoin.core.evaluation.roc import label_aucs, macro_auc
from conjoin.core.evaluation.svm import SVMChoice, svm_probe
from conjoin.core.evaluation.table import Row, Table
from conjoin.core.evaluation.task import PROBES, Task, task_of

__all__ = (
    "PROBES",
    "AttentiveChoice",
    "AttentiveClassifier",
    "Embedder",
    "Features",
    "FewShot",
    "KNNChoice",
    "LinearChoice",
    "LinearClassifier",
    "MLPChoice",
    "MultiLabelChoice",
    "MultiLabelFeatures",
    "RegressionChoice",
    "RegressionTable",
    "Row",
    "SVMChoice",
    "Table",
    "Task",
    "Votes",
    "attentive_multilabel_probe",
    "attentive_probe",
    "draw_labels",
    "evaluate",
    "extract",
    "extract_multilabel",
    "few_shot",
    "fit_linear",
    "knn_probe",
    "knn_regression",
    "label_aucs",
    "linear_multilabel_probe",
    "linear_probe",
    "macro_auc",
    "mlp_probe",
    "raw_input",
    "ridge_probe",
    "rmse",
    "svm_probe",
    "task_of",
)

# SPDX-License-Identifier: Apache-2.0
"""Who says what is asked."""

from types import SimpleNamespace as Has

import pytest

from conjoin.core.evaluation.task import FIELDS, METRICS, PROBES, check_probes, task_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Has(), "classification"),
        (Has(task=None, label_names=None), "classification"),
        (Has(task="regression"), "regression"),
        (Has(task="multilabel", label_names=None), "multilabel"),
        (Has(task="finger_movements"), "classification"),  # a set's own word for something else
        (Has(label_names=("a", "b")), "multilabel"),
        (Has(label_names=("a", "b"), class_names=("a", "b")), "multilabel"),
        (Has(label_names=("a", "b"), class_names=("none", "a", "b", "a and b")), "classification"),
        (Has(task="classification", label_names=("a", "b")), "classification"),
    ],
)
def test_declarations(data: Has, expected: str) -> None:
    assert task_of(data) == expected
    assert task_of(data, "regression") == "regression"


def test_every_task_is_complete() -> None:
    assert set(PROBES) == set(METRICS) == set(FIELDS)
    for task, probes in PROBES.items():
        check_probes(task, probes)


def test_guards() -> None:
    with pytest.raises(ValueError, match="task must be one of classification, regression"):
        task_of(Has(), "x")
    with pytest.raises(ValueError, match="unknown probe 'forest'"):
        check_probes("classification", ["linear", "forest"])
    with pytest.raises(ValueError, match="no svm probe for a multilabel task: choose among linear"):
        check_probes("multilabel", ["linear", "svm"])

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sklearn.metrics import roc_auc_score

from conjoin.core.evaluation.roc import label_aucs, macro_auc


def random_problem(ties, rows=200, labels=5):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(rows, labels, generator=generator)
    if ties:
        scores = (scores * 2).round()
    return scores, (torch.rand(rows, labels, generator=generator) < 0.2).float()


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_that_of_sklearn(ties):
    scores, labels = random_problem(ties)
    expected = [roc_auc_score(labels[:, k], scores[:, k]) for k in range(5)]
    assert label_aucs(scores, labels).tolist() == pytest.approx(expected, abs=1e-12)
    assert macro_auc(scores, labels) == pytest.approx(
        roc_auc_score(labels, scores, average="macro"), abs=1e-12
    )


def test_auc_of_pairs_counted_by_hand():
    scores = torch.tensor([[0.1], [0.4], [0.4], [0.9]])
    labels = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    assert macro_auc(scores, labels) == 3.5 / 4
    assert macro_auc(-scores, labels) == 0.5 / 4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_labels_that_do_not_vary(value):
    scores, labels = random_problem(False)
    labels[:, 2] = value
    with pytest.raises(ValueError, match=r"label 2 .* is the same for all samples"):
        macro_auc(scores, labels)
    with pytest.warns(UserWarning, match=r"1 of 5 labels do not vary and are left out: \[2\]"):
        kept = macro_auc(scores, labels, constant="skip")
    others = [0, 1, 3, 4]
    assert kept == pytest.approx(roc_auc_score(labels[:, others], scores[:, others]), abs=1e-12)
    with pytest.raises(ValueError, match="no label varies"):
        macro_auc(scores[:, 2:3], labels[:, 2:3], constant="skip")


def test_auc_guards():
    scores, labels = random_problem(False)
    with pytest.raises(ValueError, match=r"must both be \(N, L\)"):
        label_aucs(scores, labels[:, :3])
    scores[0, 0] = torch.nan
    with pytest.raises(ValueError, match="a score is NaN"):
        macro_auc(scores, labels)

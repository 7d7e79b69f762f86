# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from conjoin.core.evaluation.multilabel import (
    CrossAttentionClassifier,
    MultiLabelFeatures,
    attentive_multilabel_probe,
    extract_multilabel,
    linear_multilabel_probe,
    multilabel_rows,
)


def blobs(rows, seed, noise=1.0):
    """Two labels, each visible in a direction of its own, beside noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, 2, generator=generator) < 0.4).float()
    x = noise * torch.randn(rows, 6, generator=generator)
    x[:, :2] += 2 * labels
    return MultiLabelFeatures(x * torch.tensor([1, 1, 1, 1, 1, 30.0]) + 3, labels)


def test_linear_probe_is_logistic_regression():
    train, val, test = blobs(300, 0), blobs(200, 1), blobs(400, 2)
    choice = linear_multilabel_probe(train, val, test, strengths=(0.01,))
    mean, std = train.x.mean(0), train.x.std(0, correction=0)
    for label in range(2):
        model = LogisticRegression(C=1 / (0.01 * 300), tol=1e-8, max_iter=1000)
        model.fit((train.x - mean) / std, train.labels[:, label])
        expected = roc_auc_score(test.labels[:, label], model.decision_function((test.x - mean) / std))
        assert choice.aucs[label].item() == pytest.approx(expected, abs=2e-4)
    assert choice.setting == 0.01
    assert choice.test > 0.85


def test_linear_probe_chooses_on_validation():
    train, val, test = blobs(30, 0, 3.0), blobs(200, 1, 3.0), blobs(200, 2, 3.0)
    each = {l2: linear_multilabel_probe(train, val, test, strengths=(l2,)).val for l2 in (10.0, 0.1, 1e-3)}
    chosen = linear_multilabel_probe(train, val, test, strengths=tuple(each))
    assert chosen.val == pytest.approx(max(each.values()), abs=2e-3)
    with pytest.raises(ValueError, match="needs an L2 strength"):
        linear_multilabel_probe(train, val, test, strengths=())


# The counts of the ECG-JEPA release for its 71 statements.
@pytest.mark.parametrize(
    ("dim", "heads", "count"), [(192, 4, 124_416), (384, 6, 470_016), (768, 12, 1_824_768)]
)
def test_parameters_of_the_paper(dim, heads, count):
    assert sum(p.numel() for p in CrossAttentionClassifier(dim, heads, 71).parameters()) == count


def test_cross_attention_by_hand():
    torch.manual_seed(0)
    probe = CrossAttentionClassifier(8, 2, 3).double()
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.normal_()
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    query = probe.query[0, 0] @ probe.q.weight.T
    for row in range(2):
        keys, values = (tokens[row] @ probe.kv.weight.T).split(8, dim=1)
        heads = []
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            share = torch.softmax(keys[:, part] @ query[part] / 2, dim=0)
            heads.append(share @ values[:, part])
        torch.testing.assert_close(probe(tokens)[row], probe.proj.weight @ torch.cat(heads))
    with pytest.raises(ValueError, match="3 heads do not divide dim 8"):
        CrossAttentionClassifier(8, 3, 2)


def spotted(rows, seed):
    """Label k: one of the tokens has direction k. The mean over tokens hardly shows it."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, 2, generator=generator) < 0.5).float()
    x = 0.3 * torch.randn(rows, 10, 8, generator=generator)
    place = torch.randint(10, (rows, 2), generator=generator)
    for label in range(2):
        x[torch.arange(rows), place[:, label], label] += 3 * labels[:, label]
    return MultiLabelFeatures(x, labels)


def test_attentive_probe_learns_and_is_keyed():
    splits = spotted(256, 0), spotted(128, 1), spotted(128, 2)
    options = {"heads": 2, "steps": 120, "every": 40, "lr": 1e-2, "weight_decay": 0.0, "batch_size": 64}
    choice = attentive_multilabel_probe(*splits, **options)
    assert choice.test > 0.95
    assert choice.setting in (40, 80, 120)
    assert attentive_multilabel_probe(*splits, **options).test == choice.test
    with pytest.raises(ValueError, match=r"needs tokens \(N, T, D\)"):
        attentive_multilabel_probe(blobs(9, 0), *splits[1:], heads=1)
    with pytest.raises(ValueError, match="at least one step, got 0"):
        attentive_multilabel_probe(*splits, heads=1, steps=0)


class Data:
    def __init__(self, **splits):
        self.splits = splits

    def evaluation_dataloader(self, split):
        part = self.splits[split]
        for start in range(0, len(part.x), 64):
            rows = slice(start, start + 64)
            yield {"x": part.x[rows], "labels": part.labels[rows], "index": torch.arange(len(part.x))[rows]}


def test_features_and_labels_stay_together():
    tokens = spotted(100, 0)
    found = extract_multilabel(
        lambda batch: batch["x"] * 2, Data(train=tokens).evaluation_dataloader("train"), progress=False
    )
    assert torch.equal(found.x, tokens.x * 2)
    assert torch.equal(found.labels, tokens.labels)
    with pytest.raises(ValueError, match="have no 'labels'"):
        extract_multilabel(lambda batch: batch["x"], [{"x": torch.zeros(2, 3)}], progress=False)


def test_rows_of_the_table():
    data = Data(train=blobs(200, 0), val=blobs(100, 1), test=blobs(100, 2))
    val, test = multilabel_rows("raw input", lambda batch: batch["x"], data, progress=False)
    assert (val.split, test.split, test.metric, test.budget) == ("val", "test", "macro_auc", "all")
    expected = linear_multilabel_probe(*data.splits.values())
    assert (val.value, test.value) == (expected.val, expected.test)
    data = Data(train=spotted(64, 0), val=spotted(64, 1), test=spotted(64, 2))
    options = {"heads": 2, "steps": 2, "every": 1}
    rows = multilabel_rows(
        "teacher", lambda batch: batch["x"], data, probe="attentive", progress=False, **options
    )
    assert rows[1].value == attentive_multilabel_probe(*data.splits.values(), **options).test

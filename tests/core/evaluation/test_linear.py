# SPDX-License-Identifier: Apache-2.0
"""The linear probe against scikit-learn, and its choices against what it may look at."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from conjoin.core.evaluation import Features, fit_linear, linear, linear_probe
from conjoin.core.evaluation.linear import principal_axes

sys.path.insert(0, str(Path(__file__).parent))
from blobs import blobs


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_fit_equals_sklearn(l2: float) -> None:
    data = blobs(90)
    x = (data.x - data.x.mean(0)) / data.x.std(0, correction=0)
    weight, bias = fit_linear(x, data.label, l2, classes=3, max_iter=1000, tolerance=1e-10)
    reference = LogisticRegression(C=1 / (l2 * 90), tol=1e-10, max_iter=10_000).fit(
        x.numpy(), data.label.numpy()
    )
    np.testing.assert_allclose(weight.numpy(), reference.coef_, atol=2e-5)
    # The penalty leaves a common offset of the biases free: compare them without it.
    np.testing.assert_allclose(
        (bias - bias.mean()).numpy(), reference.intercept_ - reference.intercept_.mean(), atol=2e-5
    )


@pytest.mark.parametrize(("count", "width"), [(90, 6), (30, 80)])
def test_probe_equals_sklearn_on_standardised_features(count: int, width: int) -> None:
    train, val, test = blobs(count, width), blobs(60, width, 1), blobs(60, width, 2)
    choice = linear_probe(train, val, test, classes=3, strengths=[0.01], max_iter=500)
    mean, std = train.x.mean(0), train.x.std(0, correction=0)
    reference = LogisticRegression(C=1 / (0.01 * count), tol=1e-8, max_iter=10_000)
    reference.fit(((train.x - mean) / std).numpy(), train.label.numpy())
    expected = reference.predict_proba(((test.x - mean) / std).numpy())
    found = choice.classifier.logits(test.x).softmax(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.01)
    assert choice.test == pytest.approx(
        reference.score(((test.x - mean) / std).numpy(), test.label.numpy()), abs=0.02
    )


def test_strength_is_chosen_on_validation_alone() -> None:
    train, val, test = blobs(30, 40), blobs(60, 40, 1), blobs(60, 40, 2)
    strengths = [10.0, 1.0, 0.1, 1e-3]
    each = {l2: linear_probe(train, val, test, classes=3, strengths=[l2]) for l2 in strengths}
    best = linear_probe(train, val, test, classes=3, strengths=strengths)
    assert best.val == pytest.approx(max(choice.val for choice in each.values()), abs=0.02)
    shuffled = Features(test.x, test.label.roll(1), test.index)
    again = linear_probe(train, val, shuffled, classes=3, strengths=strengths)
    assert (again.l2, again.val) == (best.l2, best.val)
    assert again.test < best.test
    assert torch.equal(again.classifier.weight, best.classifier.weight)


def loud(count: int, seed: int) -> Features:
    """Twelve features: one loud number, the same in all, plus a little that tells four classes apart."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 4
    shared = torch.randn(count, 1, generator=generator)
    noise = 0.1 * torch.randn(count, 12, generator=generator)
    signal = torch.nn.functional.one_hot(label, 12).float() + noise
    return Features(shared + 0.005 * signal, label, torch.arange(count))


def test_the_path_is_patient_where_features_share_a_loud_direction() -> None:
    """The first strengths are no better than chance, in no order: a rule of two failures would stop there."""
    train, val, test = loud(800, 0), loud(400, 1), loud(400, 2)
    strong = [linear_probe(train, val, test, classes=4, strengths=[s]).val for s in (100.0, 10.0, 1.0)]
    assert max(strong) == strong[0] < 0.4
    choice = linear_probe(train, val, test, classes=4)
    assert choice.test > 0.95


def test_constant_features_do_no_harm() -> None:
    train, val, test = blobs(60), blobs(60, seed=1), blobs(60, seed=2)
    base = linear_probe(train, val, test, classes=3)
    wider = [
        Features(torch.cat((f.x, torch.full((len(f), 2), 3.3)), 1), f.label, f.index)
        for f in (train, val, test)
    ]
    assert linear_probe(*wider, classes=3).test == pytest.approx(base.test, abs=1e-6)


def test_leading_axes_are_those_of_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "EXACT_UP_TO", 20)
    monkeypatch.setattr(linear, "LEADING", 5)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 40, generator=generator, dtype=torch.float64) * 0.7 ** torch.arange(40)
    x = x - x.mean(0)
    coordinates, axes = principal_axes(x)
    assert coordinates.shape == (200, 5)
    reference = PCA(5).fit(x.numpy()).components_
    np.testing.assert_allclose(np.abs(np.sum(axes.numpy() * reference, axis=1)), 1, atol=0.01)
    torch.testing.assert_close(coordinates, x @ axes.T)


def test_exact_axes_lose_nothing() -> None:
    for shape in ((30, 8), (8, 30)):
        x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x = x - x.mean(0)
        coordinates, axes = principal_axes(x)
        torch.testing.assert_close(coordinates @ axes, x)
        torch.testing.assert_close(axes @ axes.T, torch.eye(len(axes), dtype=x.dtype))


def test_guards() -> None:
    data = blobs(30)
    with pytest.raises(ValueError, match="at least one L2 strength"):
        linear_probe(data, data, data, classes=3, strengths=[])
    with pytest.raises(ValueError, match="labels span 0 to 2, but there are 2 classes"):
        linear_probe(data, data, data, classes=2)

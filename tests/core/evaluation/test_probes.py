# SPDX-License-Identifier: Apache-2.0
"""Each probe against an independent implementation, and its choices against what it may look at."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from conjoin.core.evaluation import (
    Features,
    Votes,
    attentive_probe,
    draw_labels,
    fit_linear,
    knn_probe,
    linear,
    linear_probe,
)
from conjoin.core.evaluation.linear import principal_axes


def blobs(count: int, width: int = 6, seed: int = 0, spread: float = 1.5) -> Features:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    label = torch.arange(count) % 3
    x = centres[label] + spread * torch.randn(count, width, generator=generator, dtype=torch.float64)
    return Features(x * torch.linspace(0.01, 50, width) + 7, label, torch.arange(count))


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


def test_neighbours_equal_sklearn() -> None:
    train, query = blobs(90), blobs(40, seed=1)
    votes = Votes.of(train.x, train.label, query.x, 7)
    uniform = KNeighborsClassifier(7, metric="cosine").fit(train.x.numpy(), train.label.numpy())
    assert votes.predict(7, None).tolist() == uniform.predict(query.x.numpy()).tolist()
    soft = KNeighborsClassifier(7, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.2))
    soft.fit(train.x.numpy(), train.label.numpy())
    assert votes.predict(7, 0.2).tolist() == soft.predict(query.x.numpy()).tolist()


def test_votes_survive_a_tiny_temperature() -> None:
    votes = Votes(torch.tensor([[0.9, 0.8, 0.8]]), torch.tensor([[2, 1, 1]]))
    assert votes.predict(3, 1e-4).tolist() == [2]
    assert votes.predict(3, None).tolist() == [1]


def test_knn_standardises_when_validation_says_so() -> None:
    # One loud feature without meaning hides a quiet one that tells the classes.
    def sets(count: int, seed: int) -> Features:
        generator = torch.Generator().manual_seed(seed)
        label = torch.arange(count) % 2
        loud = 1000 * torch.randn(count, 2, generator=generator)
        x = torch.cat((loud, (label - 0.5).unsqueeze(1)), 1)
        return Features(x, label, torch.arange(count))

    choice = knn_probe(sets(60, 0), sets(40, 1), sets(40, 2), ks=(5, 100), temperatures=(None,))
    assert (choice.metric, choice.k) == ("standardised", 5)
    assert choice.test > 0.95


def test_attentive_probe_finds_the_token_that_the_mean_hides() -> None:
    def sets(count: int, seed: int) -> Features:
        generator = torch.Generator().manual_seed(seed)
        label = torch.arange(count) % 2
        tokens = 0.3 * torch.randn(count, 9, 8, generator=generator)
        place = torch.randint(9, (count,), generator=generator)
        # The marked token carries the class as a sign; another carries the opposite, unmarked.
        sign = (2 * label - 1).float()
        tokens[torch.arange(count), place, 0] += 4
        tokens[torch.arange(count), place, 1] += 2 * sign
        tokens[torch.arange(count), (place + 1) % 9, 1] -= 2 * sign
        return Features(tokens, label, torch.arange(count))

    train, val, test = sets(256, 0), sets(64, 1), sets(64, 2)
    means = [Features(f.x.mean(1), f.label, f.index) for f in (train, val, test)]
    assert linear_probe(*means, classes=2).test < 0.75
    options = {"classes": 2, "epochs": 25, "lrs": [3e-3], "batch_size": 32, "heads": 4}
    state = torch.random.get_rng_state()
    first = attentive_probe(train, val, test, **options)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.test > 0.9
    assert first == attentive_probe(train, val, test, **options)


def test_label_draws() -> None:
    label = torch.tensor([0] * 20 + [1] * 5 + [2] * 30 + [-1] * 9)
    small, large = draw_labels(label, 4), draw_labels(label, 12)
    assert label[small].bincount().tolist() == [4, 4, 4]
    assert label[large].bincount().tolist() == [12, 5, 12]
    assert set(small.tolist()) <= set(large.tolist())
    assert torch.equal(small, draw_labels(label, 4))
    assert not torch.equal(small, draw_labels(label, 4, draw=1))
    assert not torch.equal(small, draw_labels(label, 4, seed=1))


def test_guards() -> None:
    data = blobs(30)
    with pytest.raises(ValueError, match="at least one L2 strength"):
        linear_probe(data, data, data, classes=3, strengths=[])
    with pytest.raises(ValueError, match="labels span 0 to 2, but there are 2 classes"):
        linear_probe(data, data, data, classes=2)
    with pytest.raises(ValueError, match="at least one k"):
        knn_probe(data, data, data, metrics=[])
    with pytest.raises(ValueError, match=r"tokens \(N, T, D\)"):
        attentive_probe(data, data, data, classes=3)
    tokens = Features(data.x.unsqueeze(1).float(), data.label, data.index)
    with pytest.raises(ValueError, match="at least one learning rate"):
        attentive_probe(tokens, tokens, tokens, classes=3, lrs=[])
    with pytest.raises(ValueError, match="per_class must be at least 1"):
        draw_labels(data.label, 0)
    with pytest.raises(ValueError, match="no sample has a label"):
        draw_labels(torch.full((3,), -1), 1)

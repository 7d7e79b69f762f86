# SPDX-License-Identifier: Apache-2.0
"""The neighbours against scikit-learn."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from conjoin.core.evaluation import Features, Votes, knn_probe
from conjoin.core.evaluation.knn import knn_spaces

sys.path.insert(0, str(Path(__file__).parent))
from blobs import blobs


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


def test_spaces() -> None:
    generator = torch.Generator().manual_seed(3)
    x = (
        torch.randn(500, 6, generator=generator, dtype=torch.float64)
        @ torch.randn(6, 6, generator=generator).double()
        + 5
    )
    spaces = knn_spaces(x)
    assert torch.equal(spaces["cosine"](x), x)
    assert spaces["centred"](x).mean(0).abs().max() < 1e-12
    torch.testing.assert_close(spaces["standardised"](x).square().mean(0), torch.ones(6, dtype=torch.float64))
    assert list(knn_spaces(x, (2, 64, 128)))[3:] == ["whitened 2", "whitened 6"]
    white = spaces["whitened 6"](x)
    assert torch.equal(knn_spaces(x, (2,))["whitened 2"](x), white[:, :2])
    torch.testing.assert_close(white.T @ white / 500, torch.eye(6, dtype=torch.float64))


def test_nothing_to_choose_from_is_refused() -> None:
    data = blobs(30)
    with pytest.raises(ValueError, match="at least one k"):
        knn_probe(data, data, data, spaces={})

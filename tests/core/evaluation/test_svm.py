# SPDX-License-Identifier: Apache-2.0
import sys

import pytest
import torch

from conjoin.core.evaluation.features import Features
from conjoin.core.evaluation.svm import svm_probe

pytest.importorskip("sklearn")


def blobs(count, noise, seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % classes
    centers = 4 * torch.eye(classes, 5)
    return Features(
        centers[label] + noise * torch.randn(count, 5, generator=generator), label, torch.arange(count)
    )


def test_separable_classes_are_separated():
    found = svm_probe(blobs(60, 0.3), blobs(30, 0.3, 1), blobs(30, 0.3, 2))
    assert (found.cost, found.val, found.test) == (0.012, 1.0, 1.0)


def test_two_points_have_the_widest_margin():
    """In one dimension the border lies half way between the two nearest points of the classes."""
    train = Features(torch.tensor([[-3.0], [-1], [2], [5]]), torch.tensor([0, 0, 1, 1]), torch.arange(4))
    near = Features(torch.tensor([[0.45], [0.55]]), torch.tensor([0, 1]), torch.arange(2))
    assert svm_probe(train, near, near, costs=(1000.0,)).test == 1.0


def test_features_of_a_small_scale_get_their_chance():
    """At the paper's cost a machine on features of this scale has no room to separate."""
    parts = [blobs(60, 0.3, seed) for seed in range(3)]
    tiny = [Features(part.x * 1e-2, part.label, part.index) for part in parts]
    lopsided = tiny[0].select(torch.cat((torch.arange(60), torch.arange(0, 60, 3))))
    assert svm_probe(lopsided, *tiny[1:], costs=(0.012,)).test < 0.5
    found = svm_probe(lopsided, *tiny[1:])
    assert found.test == 1.0
    assert found.cost > 0.012


def test_validation_chooses_the_cost_and_test_does_not():
    train = Features(torch.tensor([[-3.0], [-1], [2], [5]]), torch.tensor([0, 0, 1, 1]), torch.arange(4))
    val = Features(torch.tensor([[0.45], [0.55]]), torch.tensor([0, 1]), torch.arange(2))
    flipped = Features(val.x, 1 - val.label, val.index)
    found = svm_probe(train, val, flipped, costs=(1e-6, 1000.0))
    assert found.cost == 1000.0
    assert found.test == 0.0


def test_refuses(monkeypatch):
    part = blobs(9, 0.3)
    with pytest.raises(ValueError, match=r"positive numbers, not \(0.0,\)"):
        svm_probe(part, part, part, costs=(0.0,))
    with pytest.raises(ValueError, match=r"not \(\)"):
        svm_probe(part, part, part, costs=())
    with pytest.raises(ValueError, match="at least two classes"):
        svm_probe(part.select(part.label == 1), part, part)
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(ImportError, match="needs scikit-learn"):
        svm_probe(part, part, part)

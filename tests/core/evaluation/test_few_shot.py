# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.evaluation.features import Features
from conjoin.core.evaluation.few_shot import few_shot, few_shot_row

pytest.importorskip("sklearn")


def blobs(noise, classes=8, count=30):
    torch.manual_seed(0)
    label = torch.arange(classes).repeat_interleave(count)
    return Features(
        10 * torch.eye(classes)[label] + noise * torch.randn(len(label), classes),
        label,
        torch.arange(len(label)),
    )


def test_clear_classes_are_told_apart_and_noise_is_not():
    clear = few_shot(blobs(0.1), 5, 10, episodes=4)
    assert clear.episodes == (1.0,) * 4
    assert (clear.mean, clear.std) == (1.0, 0.0)
    noise = few_shot(Features(torch.randn(240, 8), blobs(0).label, torch.arange(240)), 5, 10, episodes=6)
    assert noise.mean == pytest.approx(0.2, abs=0.08)
    assert noise.std > 0


def test_episodes_are_functions_of_the_seed():
    features = blobs(6.0)
    assert few_shot(features, 4, 5) == few_shot(features, 4, 5)
    assert few_shot(features, 4, 5) != few_shot(features, 4, 5, seed=1)
    assert few_shot(features, 4, 5, episodes=3).episodes == few_shot(features, 4, 5, episodes=5).episodes[:3]


def test_examples_and_queries_do_not_overlap():
    """Features that know each sample by itself: a machine that had seen the queries would name them all."""
    label = torch.arange(5).repeat_interleave(30)
    assert few_shot(Features(torch.eye(150), label, torch.arange(150)), 5, 10, cost=100.0).mean < 0.5


def test_row_of_the_table():
    features = blobs(6.0)
    found, row = few_shot(features, 4, 5, seed=3), few_shot_row("teacher", features, 4, 5, seed=3)
    assert (row.features, row.probe, row.labels_per_class, row.split) == ("teacher", "4-way", 5, "test")
    assert (row.metric, row.value, row.std, row.draws) == ("few_shot_accuracy", found.mean, found.std, 10)


def test_refuses():
    with pytest.raises(ValueError, match="Only 8 classes have 30 examples, too few for 9 ways of 10 shots"):
        few_shot(blobs(1.0), 9)
    with pytest.raises(ValueError, match="Only 0 classes have 31 examples"):
        few_shot(blobs(1.0), 5, 11)
    with pytest.raises(ValueError, match="needs two ways"):
        few_shot(blobs(1.0), 1)
    with pytest.raises(ValueError, match="needs two ways"):
        few_shot(blobs(1.0), 5, 0)

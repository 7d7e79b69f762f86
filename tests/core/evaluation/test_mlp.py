# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.evaluation.features import Features
from conjoin.core.evaluation.linear import linear_probe
from conjoin.core.evaluation.mlp import mlp_probe


def ring(count, seed):
    """Two classes that no line separates, beside a loud feature of no use and a constant one."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    label = (x[:, :2].square().sum(1) > 1.4).long()
    x[:, 2] *= 100
    x[:, 3] = 7
    return x, label


def test_it_learns_what_a_line_cannot():
    splits = [ring(400, seed) for seed in range(3)]
    found = mlp_probe(*splits, classes=2)
    line = linear_probe(*(Features(x, y, y) for x, y in splits), classes=2)
    assert found.test > 0.85 > line.test + 0.15
    assert 1 <= found.epoch <= 60
    assert found == mlp_probe(*splits, classes=2)
    assert found != mlp_probe(*splits, classes=2, seed=1)


def test_it_regresses_in_the_target_s_units():
    def curve(seed):
        x, _ = ring(400, seed)
        return x, x[:, 0].abs() * 3

    found = mlp_probe(*(curve(seed) for seed in range(3)), classes=None)
    spread = curve(2)[1].std().item()
    assert found.test < 0.35 * spread
    assert found.val == pytest.approx(found.test, rel=0.5)


def test_the_global_generators_are_left_alone():
    state = torch.get_rng_state()
    mlp_probe(*(ring(40, seed) for seed in range(3)), classes=2, epochs=1)
    assert torch.equal(state, torch.get_rng_state())


def test_the_best_epoch_counts_and_not_the_last():
    """Labels without a rule: training on makes validation worse, so patience ends it early."""
    noise = [(x, torch.arange(60) % 2) for x, _ in (ring(60, seed) for seed in range(3))]
    found = mlp_probe(*noise, classes=2, epochs=40, patience=3)
    assert found.epoch < 40
    assert found.val >= mlp_probe(*noise, classes=2, epochs=1).val


def test_guards():
    splits = [ring(20, seed) for seed in range(3)]
    with pytest.raises(ValueError, match="at least one epoch, got 0"):
        mlp_probe(*splits, classes=2, epochs=0)
    with pytest.raises(ValueError, match="training labels span 0 to 1, but there are 1 classes"):
        mlp_probe(*splits, classes=1)

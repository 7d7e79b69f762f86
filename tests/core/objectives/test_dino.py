# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import DINO, sinkhorn_knopp
from conjoin.core.objectives.dino import warmed_up


def softmax(row):
    top = max(row)
    e = [math.exp(v - top) for v in row]
    return [v / sum(e) for v in e]


def loop(students, teachers, center, temperature):
    terms = []
    for v, student in enumerate(students.tolist()):
        for j, teacher in enumerate(teachers.tolist()):
            if v == j:
                continue
            for s, t in zip(student, teacher, strict=True):
                target = softmax([(x - c) / temperature for x, c in zip(t, center, strict=True)])
                log_p = [math.log(p) for p in softmax([x / 0.1 for x in s])]
                terms.append(-sum(q * p for q, p in zip(target, log_p, strict=True)))
    return sum(terms) / len(terms)


def sample(seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(n, 5, 6, dtype=torch.float64, generator=g) for n in (4, 2))


def test_equals_loops_and_the_centre_moves_after_use():
    objective = DINO(6).double()
    center = [0.0] * 6
    for step in range(3):
        students, teachers = sample(step)
        assert objective(students, teachers).loss.item() == pytest.approx(
            loop(students, teachers, center, 0.04), rel=1e-10
        )
        mean = teachers.flatten(0, 1).mean(0).tolist()
        center = [0.9 * c + 0.1 * m for c, m in zip(center, mean, strict=True)]
        assert objective.center[0].tolist() == pytest.approx(center)
    assert objective.center.shape == (1, 6)


def test_uniform_outputs_cost_log_k():
    z = torch.zeros(2, 3, 10)
    assert DINO(10)(z, z).loss.item() == pytest.approx(math.log(10))


def test_temperature_follows_the_optimiser_steps():
    objective = DINO(6, final_teacher_temperature=0.07, warmup_steps=3)
    found = []
    for _ in range(5):
        found.append(objective.temperature().item())
        objective.advance()
    assert found == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.07])
    assert warmed_up(0.04, None, torch.tensor(2), 3).item() == pytest.approx(0.04)


def test_sinkhorn_balances_both_views_together():
    students, teachers = sample()
    found = DINO(6, centering="sinkhorn").double()(students, teachers).loss
    codes = sinkhorn_knopp(teachers.flatten(0, 1), 0.04).view(2, 5, 6)
    wanted = loop(students, codes.log() * 0.04, [0.0] * 6, 0.04)
    assert found.item() == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"warmup_steps": -1},
        {"center_momentum": 1.5},
        {"centering": "mean"},
        {"student_temperature": 0.0},
        {"teacher_temperature": 0.0},
        {"final_teacher_temperature": 0.0},
    ],
)
def test_wrong_options_are_named(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match="temperature" if "temperature" in name else name):
        DINO(**options)

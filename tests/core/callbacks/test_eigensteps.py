# SPDX-License-Identifier: Apache-2.0
"""Detection of discrete eigenvalue steps on the staircase that theory predicts."""

import math

import pytest
import torch
from torch import Tensor

from conjoin.core.callbacks.eigensteps import detect_steps, is_log_spaced

GAMMA = torch.tensor([1.0, 0.35, 0.12, 0.04], dtype=torch.float64)
START = 1e-3


def staircase(time: Tensor) -> Tensor:
    """gamma_j s_j(t)^2 of the closed form: the eigenvalues of the cross-correlation matrix."""
    grow = torch.exp(8 * GAMMA * time.unsqueeze(1))
    return GAMMA * grow / (START**-2 + (grow - 1) * GAMMA)


def log_spaced(per_decade: int, top: int) -> Tensor:
    steps = {round(10 ** (k / per_decade)) for k in range(per_decade * 6)}
    return torch.tensor(sorted(step for step in steps if step <= top))


def test_every_mode_of_the_closed_form_is_found_once_at_its_half_rise_time() -> None:
    steps = log_spaced(16, 20_000)
    found = detect_steps(steps, staircase(steps * 0.01).sort(dim=1, descending=True).values)
    assert [index for _, index in found] == [0, 1, 2, 3]
    for (time, _), gamma in zip(found, GAMMA.tolist(), strict=True):
        half_rise = -math.log(gamma * START**2) / (8 * gamma) / 0.01
        assert time == pytest.approx(half_rise, rel=0.1)


def test_noise_below_the_floor_is_no_step() -> None:
    steps = log_spaced(16, 1000)
    values = torch.ones(len(steps), 3)
    values[:, 1] = 1e-3
    values[:, 2] = torch.logspace(-16, -10, len(steps))
    assert detect_steps(steps, values) == []


def test_slow_growth_and_decay_are_no_steps() -> None:
    steps = log_spaced(16, 10_000)
    power = (steps / 10_000.0) ** 1.5
    assert detect_steps(steps, torch.stack((power, power.flip(0)), 1)) == []


def test_a_small_jump_is_no_step_and_a_large_one_is() -> None:
    steps = torch.tensor([1, 10, 11, 100])
    jump = torch.tensor([[1.0, 0.1], [1.0, 0.1], [1.0, 0.9], [1.0, 0.9]])
    assert detect_steps(steps, jump) == []
    assert [index for _, index in detect_steps(steps, jump, min_rise=5)] == [1]


def test_a_rise_that_the_run_cuts_short_counts_as_far_as_it_got() -> None:
    steps = log_spaced(16, 20_000)
    values = staircase(steps * 0.01)
    before = steps <= 1000
    found = detect_steps(steps[before], values[before])
    assert {0, 1} <= {index for _, index in found}


def test_nothing_to_look_at() -> None:
    assert detect_steps(torch.tensor([1]), torch.ones(1, 3)) == []
    assert detect_steps(torch.tensor([1, 2]), torch.zeros(2, 3)) == []


def test_log_spaced_steps() -> None:
    expected = sorted({round(10 ** (k / 16)) for k in range(16 * 5)})
    assert [step for step in range(-2, expected[-1] + 1) if is_log_spaced(step, 16)] == expected

# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from conjoin.core.optim import Constant, Cosine, CosineMomentum, Delayed, Linear, WarmupCosine

IPE, EPOCHS, WARMUP = 10, 300, 40


def near(value):
    return pytest.approx(value, abs=1e-9, rel=0)


@pytest.mark.parametrize(
    ("stretch", "k", "value"),
    [
        (1.0, 1, 2.02e-4),
        (1.0, 200, 6e-4),
        (1.0, 400, 1e-3),
        (1.0, 1700, 5.005e-4),
        (1.0, 3000, 1e-6),
        (1.25, 1700, 6.725611917e-4),
        (1.25, 3000, 1.195387535e-4),
    ],
)
def test_learning_rate_of_the_ijepa_release(stretch, k, value):
    schedule = WarmupCosine(2e-4, 1e-3, 1e-6, WARMUP * IPE, EPOCHS * IPE, stretch)
    assert schedule(k - 1) == near(value)


@pytest.mark.parametrize(
    ("stretch", "k", "value"),
    [(1.0, 1, 0.0400000987), (1.0, 1500, 0.22), (1.0, 3000, 0.4), (1.25, 3000, 0.365623059)],
)
def test_weight_decay_of_the_ijepa_release(stretch, k, value):
    assert Cosine(0.04, 0.4, EPOCHS * IPE, stretch)(k - 1) == near(value)


@pytest.mark.parametrize(
    ("stretch", "i", "value"),
    [(1.0, 0, 0.996), (1.0, 1, 0.9960013333), (1.0, 1500, 0.998), (1.25, 2999, 0.9991989333)],
)
def test_teacher_momentum_of_the_ijepa_release(stretch, i, value):
    assert Linear(0.996, 1.0, EPOCHS * IPE, stretch)(i) == near(value)


def test_byol_momentum():
    schedule = CosineMomentum(0.99, 1000)
    assert schedule(0) == pytest.approx(0.99)
    assert schedule(250) == pytest.approx(1 - 0.01 * (math.sqrt(0.5) + 1) / 2)
    assert schedule(500) == pytest.approx(0.995)
    assert schedule(1000) == schedule(5000) == 1.0


def test_values_hold_after_the_end():
    assert Linear(0.9, 1.0, 10)(10) == Linear(0.9, 1.0, 10)(99) == 1.0
    assert Cosine(0.1, 0.5, 10)(9) == Cosine(0.1, 0.5, 10)(99) == 0.5
    assert WarmupCosine(0.0, 1.0, 0.1, 2, 10)(99) == 0.1
    assert Constant(0.3)(0) == Constant(0.3)(10**9) == 0.3


def test_a_run_shorter_than_its_warmup_keeps_rising():
    schedule = WarmupCosine(0.0, 1.0, 0.0, 100, 10)
    assert [schedule(k) for k in (0, 4, 9)] == pytest.approx([0.01, 0.05, 0.1])


def test_no_warmup_starts_near_the_peak():
    assert WarmupCosine(0.0, 1.0, 0.0, 0, 1000)(0) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0, 1, 0), "total_steps is 0"),
        (lambda: Cosine(0, 1, 0), "total_steps is 0"),
        (lambda: CosineMomentum(0.9, -1), "total_steps is -1"),
        (lambda: WarmupCosine(0, 1, 0, 0, 0), "total_steps is 0"),
        (lambda: WarmupCosine(0, 1, 0, -1, 5), "warmup_steps is -1"),
        (lambda: Linear(0, 1, 5, 0.0), "stretch is 0"),
        (lambda: Cosine(0, 1, 5, -1.0), "stretch is -1"),
        (lambda: WarmupCosine(0, 1, 0, 0, 5, math.nan), "stretch is nan"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_delayed_is_one_step_late():
    late = Delayed(Linear(1.0, 3.0, 10))
    assert [late(step) for step in (1, 6, 11, 50)] == [1.0, 2.0, 3.0, 3.0]

# SPDX-License-Identifier: Apache-2.0
import pytest

from conjoin.audio.masking import competence, hard_share


def test_values_of_the_competence():
    steps = 10_000
    for step, expected in ((0, 0.01), (100, 0.100494), (2500, 0.500075), (5000, 0.707142), (10_000, 1.0)):
        assert competence(step, steps) == pytest.approx(expected, abs=1e-6)
    values = [competence(step, steps) for step in range(0, steps + 1, 10)]
    assert values == sorted(values)
    assert competence(2 * steps, steps) == 1.0
    assert competence(0, steps, start=0.3) == pytest.approx(0.3)


def test_ablations():
    assert hard_share("rising", 25, 100) == competence(25, 100)
    assert hard_share("falling", 25, 100) == 1 - competence(25, 100)
    assert hard_share("always", 0, 100) == 1.0
    assert hard_share("never", 99, 100) == 0.0


def test_guards():
    with pytest.raises(ValueError, match=r"starts at a share between 0 and 1, not -0.1"):
        competence(0, 10, -0.1)
    with pytest.raises(ValueError, match="at least one step, not 0"):
        competence(0, 0)
    with pytest.raises(ValueError, match="must be one of rising, falling, always, never, not 'up'"):
        hard_share("up", 0, 10)

# SPDX-License-Identifier: Apache-2.0
import pytest
from rich.progress import Progress

from conjoin.core.evaluation.progress import steps


@pytest.mark.parametrize("enabled", [True, False])
def test_every_item_comes_once_in_order(enabled):
    assert list(steps([3, 1, 2], "items", enabled)) == [3, 1, 2]
    assert list(steps((n for n in range(4)), "of unknown number", enabled)) == [0, 1, 2, 3]


def test_steps_aside_for_another_bar():
    with Progress() as other:
        task = other.add_task("Lightning's", total=2)
        assert list(steps(range(3), "ours")) == [0, 1, 2]
        assert other.tasks[task].total == 2
    assert list(steps(range(2), "alone again")) == [0, 1]


def test_the_bar_goes_when_the_loop_is_left_early():
    for number in steps(range(9), "first"):
        if number == 3:
            break
    with Progress():  # a display still alive would raise here
        pass

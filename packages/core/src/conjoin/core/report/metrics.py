# SPDX-License-Identifier: Apache-2.0
"""How figures of merit are called and written, and which direction is better."""

from conjoin.core.report.html import number, percent

__all__ = ("better", "called", "gain", "higher_is_better", "written")

_NAMES = {
    "accuracy": "accuracy",
    "few_shot_accuracy": "few-shot accuracy",
    "macro_auc": "macro AUC",
    "rmse": "RMSE",
}
_LOWER = {"rmse"}


def called(metric: str) -> str:
    """Its name in a sentence; a metric from elsewhere keeps its own."""
    return _NAMES.get(metric, metric)


def higher_is_better(metric: str) -> bool:
    """False for errors, which are numbers in units of their own; all others are shares."""
    return metric not in _LOWER


def better(metric: str, one: float, other: float) -> bool:
    """Whether ``one`` is strictly better than ``other``."""
    return one > other if higher_is_better(metric) else one < other


def written(metric: str, value: float) -> str:
    """A percentage, or a number for an error."""
    return percent(value) if higher_is_better(metric) else number(value, 4)


def gain(metric: str, ours: float, other: float) -> str:
    """How much better ``ours`` is: in points of a percentage, or an error in percent of the other's."""
    if higher_is_better(metric):
        return f"{100 * (ours - other):+.1f} points"
    return f"{100 * (ours / other - 1):+.1f}\u202f% error" if other else "\u2013"

# SPDX-License-Identifier: Apache-2.0
"""Is the representation healthy? Rules that look at the end of a run and say why they judge so.

RankMe and content share use the thresholds at which :mod:`conjoin.core.callbacks.alarms` speaks.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from conjoin.core.report.evaluation import Score, baseline, best_probe, reported, scores
from conjoin.core.report.html import number, percent
from conjoin.core.report.metrics import better, gain
from conjoin.core.report.run import Run

__all__ = ("Check", "State", "checks", "verdict")

State = Literal["good", "watch", "bad", "unknown"]


@dataclass(frozen=True)
class Check:
    """One judgement: what was looked at, what it is, how it is judged, and by which rule."""

    title: str
    value: str
    state: State
    rule: str


def checks(run: Run) -> list[Check]:
    """All judgements over a run."""
    return [_loss(run), _rank(run), _content(run), *_gains(run), _complete(run)]


def verdict(found: list[Check]) -> tuple[State, str]:
    """The worst state, and a sentence about it."""
    worst: dict[State, list[str]] = {"bad": [], "watch": [], "good": [], "unknown": []}
    for check in found:
        worst[check.state].append(check.title)
    if worst["bad"]:
        return "bad", f"Not healthy: {', '.join(worst['bad'])}."
    if worst["watch"]:
        return "watch", f"Usable, but look at: {', '.join(worst['watch'])}."
    if worst["good"]:
        missing = f" Not measured: {', '.join(worst['unknown'])}." if worst["unknown"] else ""
        return "good", f"Healthy by every rule that could be applied.{missing}"
    return "unknown", "Nothing was measured that could tell."


def _loss(run: Run) -> Check:
    rule = (
        "Good: finite throughout and lower in the last tenth of training than in the first. Bad: not finite."
    )
    series = run.series("train/loss", "train/loss_step", "train/loss_epoch")
    if series is None:
        return Check("training loss", "\u2013", "unknown", rule)
    if not np.isfinite(series.values).all():
        return Check("training loss", "not finite", "bad", rule)
    tenth = max(1, len(series.values) // 10)
    first, last = float(series.values[:tenth].mean()), float(series.values[-tenth:].mean())
    return Check(
        "training loss", f"{number(first)} → {number(last)}", "good" if last < first else "watch", rule
    )


def _rank(run: Run) -> Check:
    rule = "Good: the last RankMe is at least half of the first. Bad: below a quarter of it."
    series = run.series("monitor/rankme")
    values = (
        series.values
        if series is not None
        else run.spectra.rankme
        if run.spectra is not None
        else np.empty(0)
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return Check("RankMe", "\u2013", "unknown", rule)
    first, last = float(values[0]), float(values[-1])
    state: State = "good" if last >= first / 2 else "watch" if last >= first / 4 else "bad"
    return Check("RankMe", f"{number(first)} → {number(last)}", state, rule)


def _content(run: Run) -> Check:
    rule = (
        "Share of the targets' variance that differs between samples at the same position. "
        "Good: at least 10 %. Bad: below 2 %, where targets are functions of position."
    )
    series = run.series("monitor/content_share")
    values = (
        series.values
        if series is not None
        else run.spectra.content_share
        if run.spectra is not None
        else np.empty(0)
    )
    values = values[np.isfinite(values)]
    if not len(values):
        return Check("content share", "\u2013", "unknown", rule)
    last = float(values[-1])
    state: State = "good" if last >= 0.1 else "watch" if last >= 0.02 else "bad"
    return Check("content share", percent(last), state, rule)


def _gains(run: Run) -> list[Check]:
    found = reported(scores(run))
    probe = best_probe(found)
    ours = next((s for s in found if (s.probe, s.budget) == probe and not baseline(s.features)), None)
    return [_gain(name, ours, found) for name in ("random init", "raw input")]


def _gain(name: str, ours: Score | None, found: list[Score]) -> Check:
    title = f"gain over {name}"
    rule = "Good: the probe's figure is better by more than two standard errors. Bad: not better."
    other = next(
        (
            s
            for s in found
            if ours and s.features == name and (s.probe, s.budget) == (ours.probe, ours.budget)
        ),
        None,
    )
    if ours is None or other is None:
        return Check(title, "\u2013", "unknown", rule)
    rule += f" Probe: {ours.probe}, {ours.labels}."
    lead, error = abs(ours.value - other.value), math.hypot(ours.standard_error, other.standard_error)
    ahead = better(ours.metric, ours.value, other.value)
    state: State = "bad" if not ahead else "good" if lead > 2 * error else "watch"
    return Check(title, gain(ours.metric, ours.value, other.value), state, rule)


def _complete(run: Run) -> Check:
    rule = "Good: training reached the configured number of steps or epochs."
    # A row is logged at the step before the one it completes, epochs count from zero.
    limits = (("max_steps", run.steps, "steps"), ("max_epochs", _epoch(run), "epochs"))
    for key, done, unit in limits:
        limit = run.setting(f"trainer.{key}")
        if isinstance(limit, int) and limit > 0 and done is not None:
            slack = (
                max(1, limit // 20) if unit == "steps" else 0
            )  # the last rows are logged some steps before the end
            state: State = "good" if done + 1 + slack >= limit else "watch"
            shown = f"{number(min(done + 1, limit) if state == 'watch' else limit)} of {number(limit)} {unit}"
            return Check("run complete", shown, state, rule)
    return Check("run complete", "\u2013", "unknown", rule)


def _epoch(run: Run) -> int | None:
    series = run.series("epoch")
    return int(series.values.max()) if series is not None else None

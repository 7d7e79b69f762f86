# SPDX-License-Identifier: Apache-2.0
"""The evaluation table: frozen features under probes, beside random initialisation and the raw input."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.core.report.figure import COLOURS, axis, figure
from conjoin.core.report.html import Markup, Section, absent, join, number, table, tag
from conjoin.core.report.metrics import called, higher_is_better, written
from conjoin.core.report.run import Run

__all__ = ("Score", "baseline", "best_probe", "evaluation_section", "reported", "scores")

_BASELINES = ("random init", "raw input")
_COLOURS = {"random init": "@c6", "raw input": "@muted"}
_PATTERNS = ("", "/", ".")  # beside the colour, so that grey prints can be read


@dataclass(frozen=True)
class Score:
    """One row of ``evaluation.json``; ``budget`` is labels per class, ``None`` for all."""

    features: str
    probe: str
    budget: int | None
    value: float
    std: float
    draws: int
    split: str
    metric: str

    @property
    def labels(self) -> str:
        """The budget in words."""
        if self.budget is None:
            return "all labels"
        return f"{self.budget} labels {'per class' if higher_is_better(self.metric) else 'in all'}"

    @property
    def standard_error(self) -> float:
        """Of the mean over the draws of labels."""
        return self.std / math.sqrt(self.draws)


def scores(run: Run) -> list[Score]:
    """The rows, ours first, then the baselines."""
    rows = run.evaluation["rows"] if run.evaluation else []
    found = [
        Score(
            features=row["features"],
            probe=row["probe"],
            budget=int(row["labels_per_class"]) if row.get("labels_per_class") else None,
            value=float(row["value"]),
            std=float(row.get("std") or 0.0),
            draws=max(1, int(row.get("draws") or 1)),
            split=str(row.get("split", "test")),
            metric=str(row.get("metric", "accuracy")),
        )
        for row in rows
    ]
    return sorted(found, key=lambda s: _BASELINES.index(s.features) if baseline(s.features) else -1)


def baseline(features: str) -> bool:
    """Whether these features need no training."""
    return features in _BASELINES


def reported(found: Sequence[Score]) -> list[Score]:
    """The scores that count: those of the test split, or all where nothing was tested."""
    return [score for score in found if score.split == "test"] or list(found)


def best_probe(found: Sequence[Score]) -> tuple[str, int | None] | None:
    """The probe that a headline should quote: linear with all labels, or the nearest thing to it."""
    kinds = {(score.probe, score.budget) for score in found if not baseline(score.features)}
    return min(kinds, key=lambda kind: (kind[0] != "linear", -_size(kind[1]), kind[0]), default=None)


def _size(budget: int | None) -> float:
    return math.inf if budget is None else budget


def evaluation_section(run: Run) -> Section:
    """The table and the bars."""
    found = scores(run)
    if not found:
        body: Markup = absent(f"{run.why('evaluation.json')} `conjoin test` writes the evaluation.")
        return Section("evaluation", "Evaluation", body)
    parts = []
    for split, metric in dict.fromkeys((score.split, score.metric) for score in reported(found)):
        part = [score for score in found if (score.split, score.metric) == (split, metric)]
        parts += [_table(part, split, metric), _bars(part, split, metric)]
    for split, metric in dict.fromkeys((s.split, s.metric) for s in found if s not in reported(found)):
        part = [score for score in found if (score.split, score.metric) == (split, metric)]
        summary = tag("summary", f"The {split} split, on which choices were made")
        parts.append(tag("details", summary, _table(part, split, metric)))
    return Section("evaluation", "Evaluation", join(parts))


def _table(found: Sequence[Score], split: str, metric: str) -> Markup:
    features = list(dict.fromkeys(score.features for score in found))
    rows = []
    for probe, budget in _kinds(found):
        cells = {s.features: s for s in found if (s.probe, s.budget) == (probe, budget)}
        choose = max if higher_is_better(metric) else min
        best = choose(score.value for score in cells.values())
        rows.append(
            [
                probe,
                "all" if budget is None else str(budget),
                *(_cell(cells.get(name), best) for name in features),
            ]
        )
    draws = sorted({score.draws for score in found})
    drawn = "episodes" if metric == "few_shot_accuracy" else "draws of the labels"
    several = f", mean ± standard deviation over {draws[-1]} {drawn}" if draws[-1] > 1 else ""
    caption = f"{_ruler(metric)} on the {split} split{several}; the best of a row is bold"
    return table(["probe", _budgets(metric), *features], rows, caption, stub=2)


def _ruler(metric: str) -> str:
    return f"{called(metric)} in {'%' if higher_is_better(metric) else 'original units'}"


def _budgets(metric: str) -> str:
    return "labels per class" if higher_is_better(metric) else "labels in all"


def _cell(score: Score | None, best: float) -> str:
    if score is None:
        return "\u2013"
    text = _plain(score.metric, score.value) + (f" ± {_plain(score.metric, score.std)}" if score.std else "")
    # Equal to the fourth digit is equal.
    relative = 0.0 if higher_is_better(score.metric) else 1e-4
    same = math.isclose(score.value, best, rel_tol=relative, abs_tol=5e-5)
    return tag("strong", text) if same else text


def _plain(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if higher_is_better(metric) else number(value, 4)


def _kinds(found: Sequence[Score]) -> list[tuple[str, int | None]]:
    """Linear first, then the other probes; few labels first."""
    kinds = {(score.probe, score.budget) for score in found}
    return sorted(kinds, key=lambda kind: (kind[0] != "linear", kind[0], _size(kind[1])))


def _bars(found: Sequence[Score], split: str, metric: str) -> Markup:
    kinds = _kinds(found)
    names = [[probe for probe, _ in kinds], ["all" if budget is None else f"{budget}" for _, budget in kinds]]
    scale, unit = (100, " %") if higher_is_better(metric) else (1, "")
    traces: list[dict[str, Any]] = []
    for place, features in enumerate(dict.fromkeys(score.features for score in found)):
        cells = {(s.probe, s.budget): s for s in found if s.features == features}
        shown = [cells.get(kind) for kind in kinds]
        traces.append(
            {
                "type": "bar",
                "name": features,
                "x": names,
                "y": [scale * s.value if s else None for s in shown],
                "error_y": {
                    "type": "data",
                    "array": [scale * s.std if s and s.std else None for s in shown],
                    "visible": any(s is not None and s.std > 0 for s in shown),
                    "color": "@ink",
                    "thickness": 1.2,
                },
                "marker": {
                    "color": _COLOURS.get(features, COLOURS[place]),
                    "pattern": {
                        "shape": _PATTERNS[place % len(_PATTERNS)],
                        "size": 6,
                        "solidity": 0.2,
                        "fillmode": "overlay",
                        "fgcolor": "@paper",
                    },
                },
                "hovertemplate": f"%{{y:{'.1f' if unit else '.4g'}}}{unit}<extra>"
                + features.replace("<", "&lt;")
                + "</extra>",
            }
        )
    best = (max if higher_is_better(metric) else min)(found, key=lambda score: score.value)
    return figure(
        f"fig-evaluation-{split}-{metric}".replace(" ", "-"),
        traces,
        {
            "xaxis": axis(f"{_budgets(metric)}, by probe"),
            "yaxis": axis(f"{called(metric)} ({unit.strip() or 'original units'})", rangemode="tozero"),
        },
        alt=f"Bars of {called(metric)} by probe and label budget; the best is {best.features} under "
        f"{best.probe} with {best.labels}: {written(metric, best.value)}.",
        caption=f"{called(metric)} on the {split} split. Whiskers: one standard deviation over draws of the "
        "labels.",
        height=380,
    )

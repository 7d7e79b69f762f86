# SPDX-License-Identifier: Apache-2.0
"""Runs in order of a label-free measure, and how each order agrees with a probe: tables and files."""

import csv
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from conjoin.core.checkpoint_io import replacing
from conjoin.core.metrics import MEASURES, Measure, kendall, spearman

__all__ = ("COLUMNS", "Agreement", "Ranked", "add_clid", "agreement", "order", "show", "write")

COLUMNS = {**MEASURES, "clid": Measure("clid", "CLID", "high", "pairs", lambda z: z)}
"""The measures of one run, and CLID, which is one of a run among others (:func:`add_clid`)."""


@dataclass
class Ranked:
    """What is known of a run.

    Attributes:
        name: Short, unique among those compared.
        checkpoint: Its path.
        system: Class of the model.
        rows: Embeddings measured.
        width: K.
        values: Value of each measure, NaN where it cannot be taken.
        probe: ``metric``, ``val`` and ``test`` of the linear probe; empty without labels.
        reason: Why it has no value at all; empty if it has.
    """

    name: str
    checkpoint: str
    system: str
    rows: int
    width: int
    values: dict[str, float]
    probe: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def diverged(self) -> bool:
        """Whether no measure can be taken: its embeddings are not finite."""
        return all(map(math.isnan, self.values.values()))

    @property
    def score(self) -> float:
        """The probe's test figure, turned so that more is better."""
        value = float(self.probe["test"])
        return -value if self.probe["metric"] == "rmse" else value


@dataclass(frozen=True)
class Agreement:
    """How a measure orders the runs that a probe has ordered.

    Attributes:
        measure: Its name.
        runs: Runs that have both.
        spearman: Rank correlation of the measure's goodness with the probe's figure.
        kendall: The same, tau-b.
        regret: The best probe figure minus that of the run which the measure would choose.
    """

    measure: str
    runs: int
    spearman: float
    kendall: float
    regret: float


def order(runs: Sequence[Ranked], by: str) -> list[Ranked]:
    """Best first; then those without a value, and last those without any."""
    goodness = COLUMNS[by].goodness

    def place(ranked: Ranked) -> tuple[bool, bool, float]:
        value = ranked.values[by]
        return math.isnan(value), ranked.diverged, 0.0 if math.isnan(value) else -goodness(value)

    return sorted(runs, key=place)


def add_clid(runs: Sequence[Ranked]) -> None:
    """Give each run ``clid``: CL and ID, standardised over the runs, added.

    NaN where a run lacks a part, and everywhere where the runs do not differ in one.
    """
    total = [0.0] * len(runs)
    for part in ("cluster_learnability", "intrinsic_dimension"):
        values = [ranked.values[part] for ranked in runs]
        known = [value for value in values if math.isfinite(value)]
        spread = statistics.stdev(known) if len(known) > 1 else 0.0
        for place, value in enumerate(values):
            total[place] += (value - statistics.fmean(known)) / spread if spread else math.nan
    for ranked, value in zip(runs, total, strict=True):
        ranked.values["clid"] = value


def agreement(runs: Sequence[Ranked]) -> list[Agreement]:
    """Every measure that at least three probed runs have, against the probe; the best Spearman first."""
    found = []
    for name, measure in COLUMNS.items():
        both = [ranked for ranked in runs if ranked.probe and not math.isnan(ranked.values[name])]
        if len(both) < 3:
            continue
        goodness = torch.tensor(
            [measure.goodness(ranked.values[name]) for ranked in both], dtype=torch.float64
        )
        score = torch.tensor([ranked.score for ranked in both], dtype=torch.float64)
        regret = float(score.max() - score[int(goodness.argmax())])
        rho, tau = float(spearman(goodness, score)), float(kendall(goodness, score))
        found.append(Agreement(name, len(both), rho, tau, regret))
    return sorted(found, key=lambda one: math.inf if math.isnan(one.spearman) else -one.spearman)


def show(console: Console, runs: Sequence[Ranked], found: Sequence[Agreement], by: str, where: str) -> None:
    """Print the runs in their order, as many tables as the console's width needs, and the agreements."""
    probe = next((ranked.probe["metric"] for ranked in runs if ranked.probe), None)
    columns = [by, *(name for name in COLUMNS if name != by)]
    for number, part in enumerate(_packed(columns, runs, console.width - (19 if probe else 7))):
        table = Table(title=None if number else f"{where}, ordered by {COLUMNS[by].title}")
        table.add_column("", justify="right")
        table.add_column("run", no_wrap=True)
        for name in part:
            table.add_column(COLUMNS[name].title, justify="right", max_width=_width(name, runs))
        if probe:
            table.add_column(f"linear {_words(probe)}", justify="right", max_width=9)
        for place, ranked in enumerate(runs, 1):
            cells = [_number(ranked.values[name]) for name in part]
            cells += [_figure(ranked.probe)] if probe else []
            table.add_row(str(place), ranked.name, *cells)
        console.print(table)
    for caution in cautions(runs):
        console.print(caution, soft_wrap=True)
    if found:
        console.print(_agreements(found, str(probe)))
    elif probe:
        console.print("Rank correlations need at least three runs with labels.", soft_wrap=True)


def _width(name: str, runs: Sequence[Ranked]) -> int:
    """Of a measure's column: its longest word or number."""
    cells = (_number(ranked.values[name]) for ranked in runs)
    return max(map(len, [*COLUMNS[name].title.split(), *cells]))


def _packed(columns: Sequence[str], runs: Sequence[Ranked], room: int) -> list[list[str]]:
    """The columns of each table, so that no table is wider than ``room`` and the runs' names."""
    room -= 3 + max((len(ranked.name) for ranked in runs), default=0)
    parts: list[list[str]] = [[]]
    left = room
    for name in columns:
        need = _width(name, runs) + 3
        if need > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(name)
        left -= need
    return parts


def cautions(runs: Sequence[Ranked]) -> list[str]:
    """What makes the values of these runs hard to compare."""
    said = [f"{ranked.name}: {ranked.reason}." for ranked in runs if ranked.reason]
    runs = [ranked for ranked in runs if not ranked.reason]
    if len({(ranked.rows, ranked.width) for ranked in runs}) > 1:
        shapes = ", ".join(sorted({f"{ranked.rows} x {ranked.width}" for ranked in runs}))
        said.append(
            f"The embeddings differ in shape ({shapes}): ranks and spectra compare equal shapes only."
        )
    if len(systems := sorted({ranked.system for ranked in runs})) > 1:
        said.append(f"The runs are of different systems ({', '.join(systems)}): compare within one.")
    if plain := [ranked.name for ranked in runs if math.isnan(ranked.values["lidar"])]:
        whose = "any run" if len(plain) == len(runs) else ", ".join(plain)
        said.append(
            f"No LiDAR and no alignment for {whose}: the training transform gives views that do not differ."
        )
    return said


def write(path: Path, runs: Sequence[Ranked], found: Sequence[Agreement], about: Mapping[str, Any]) -> None:
    """Write ``.json`` (``{..., "runs", "agreement"}``) or ``.csv`` (a line per run).

    What is not a number becomes null, or an empty cell.
    """
    lines = [
        {"place": place, **{name: value for name, value in asdict(ranked).items() if name != "values"}}
        | {name: _plain(ranked.values[name]) for name in COLUMNS}
        for place, ranked in enumerate(runs, 1)
    ]
    with replacing(path) as temporary:
        if path.suffix == ".json":
            pairs = [{name: _plain(value) for name, value in asdict(one).items()} for one in found]
            whole = {**about, "runs": lines, "agreement": pairs}
            temporary.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            return
        for line in lines:
            probe = line.pop("probe")
            line |= {f"probe_{name}": probe.get(name) for name in ("metric", "val", "test")}
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)


def _plain(value: Any) -> Any:
    """A value that JSON knows: NaN is null, infinity a word."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _words(metric: str) -> str:
    return {"accuracy": "accuracy, %", "macro_auc": "macro AUC, %"}.get(metric, metric)


def _figure(probe: Mapping[str, Any]) -> str:
    if not probe:
        return "-"
    return f"{probe['test']:.4g}" if probe["metric"] == "rmse" else f"{100 * probe['test']:.1f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _agreements(found: Sequence[Agreement], metric: str) -> Table:
    table = Table(title=f"Agreement with the linear probe's {_words(metric)}")
    table.add_column("measure", no_wrap=True)
    for name in ("runs", "Spearman", "Kendall", "regret"):
        table.add_column(name, justify="right")
    for one in found:
        regret = f"{one.regret:.4g}" if metric == "rmse" else f"{100 * one.regret:.1f}"
        cells = (f"{one.spearman:+.2f}", f"{one.kendall:+.2f}", regret)
        table.add_row(COLUMNS[one.measure].title, str(one.runs), *cells)
    return table

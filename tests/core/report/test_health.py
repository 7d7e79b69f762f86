# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from conjoin.core.report.health import Check, checks, verdict
from conjoin.core.report.run import Run, Series


def run_with(**series: list[float]) -> Run:
    names = {
        "loss": "train/loss",
        "rankme": "monitor/rankme",
        "content": "monitor/content_share",
        "epoch": "epoch",
    }
    made = {names[key]: Series(np.arange(len(v), dtype=float), np.array(v)) for key, v in series.items()}
    return Run(Path("run"), metrics=made)


def state(run: Run, title: str) -> str:
    return next(check.state for check in checks(run) if check.title == title)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 0.5], "good"),
        ([1.0, 1.5], "watch"),
        ([1.0, float("nan"), 0.5], "bad"),
        ([1.0, float("inf")], "bad"),
    ],
)
def test_loss(values: list[float], expected: str) -> None:
    assert state(run_with(loss=values), "training loss") == expected


@pytest.mark.parametrize(
    ("last", "expected"), [(20.0, "good"), (19.9, "watch"), (10.0, "watch"), (9.9, "bad")]
)
def test_rankme_against_its_first_value(last: float, expected: str) -> None:
    assert state(run_with(rankme=[40.0, 60.0, last]), "RankMe") == expected


@pytest.mark.parametrize(
    ("last", "expected"), [(0.1, "good"), (0.09, "watch"), (0.02, "watch"), (0.019, "bad")]
)
def test_content_share(last: float, expected: str) -> None:
    assert state(run_with(content=[0.5, last]), "content share") == expected


@pytest.mark.parametrize(
    ("ours", "std", "expected"),
    [(0.4, 0.0, "good"), (0.36, 0.02, "watch"), (0.35, 0.0, "bad"), (0.2, 0.1, "bad")],
)
def test_gain_counts_only_beyond_two_standard_errors(ours: float, std: float, expected: str) -> None:
    base = {
        "probe": "linear",
        "labels_per_class": None,
        "split": "test",
        "metric": "accuracy",
        "draws": 4,
        "std": 0,
    }
    rows = [
        base | {"features": "random init", "value": 0.35},
        base | {"features": "teacher", "value": ours, "std": std},
    ]
    # A validation row with another value must not be the one that is judged.
    rows.insert(0, base | {"features": "teacher", "split": "val", "value": 0.9})
    run = Run(Path("run"), evaluation={"rows": rows})
    assert state(run, "gain over random init") == expected
    assert state(run, "gain over raw input") == "unknown"


def test_complete(run_dir: Path) -> None:
    assert state(Run.read(run_dir), "run complete") == "good"
    config = run_dir / "config.yaml"
    config.write_text("trainer: {max_steps: 5000}")
    assert state(Run.read(run_dir), "run complete") == "watch"
    config.write_text("trainer: {max_epochs: 10, max_steps: -1}")
    assert state(Run.read(run_dir), "run complete") == "good"
    config.write_text("trainer: {max_epochs: 11}")
    assert state(Run.read(run_dir), "run complete") == "watch"


def test_the_monitor_file_serves_where_nothing_was_logged(run_dir: Path) -> None:
    (run_dir / "metrics.csv").unlink()
    run = Run.read(run_dir)
    assert state(run, "RankMe") == "good"
    assert state(run, "content share") == "good"


def test_the_worst_state_wins() -> None:
    def made(*states: str) -> list[Check]:
        return [Check(f"c{place}", "", name, "") for place, name in enumerate(states)]

    assert verdict(made("good", "bad", "watch")) == ("bad", "Not healthy: c1.")
    assert verdict(made("good", "watch", "unknown"))[0] == "watch"
    found, sentence = verdict(made("good", "unknown"))
    assert found == "good"
    assert "Not measured: c1" in sentence
    assert verdict(made("unknown"))[0] == "unknown"

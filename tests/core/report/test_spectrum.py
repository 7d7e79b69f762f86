# SPDX-License-Identifier: Apache-2.0
import json
import re
from pathlib import Path

import numpy as np

from conjoin.core.report.run import Run
from conjoin.core.report.spectrum import health_section, shown_eigenvalues, spectrum_section


def specs(body: str) -> dict[str, dict]:
    return {
        name: json.loads(text) for name, text in re.findall(r'data-figure="([^"]*)">(.*?)</script>', body)
    }


def test_all_few_eigenvalues_are_shown_and_of_many_the_detected() -> None:
    assert shown_eigenvalues(48, set()) == list(range(48))
    shown = shown_eigenvalues(1000, {777, 5000})
    assert {0, 1, 2, 777, 999} <= set(shown)
    assert len(shown) <= 49
    assert shown == sorted(shown)


def test_axes_are_logarithmic_and_steps_marked_on_their_line(run_dir: Path) -> None:
    run = Run.read(run_dir)
    spec = specs(spectrum_section(run).body)["fig-eigenvalues"]
    assert spec["layout"]["xaxis"]["type"] == spec["layout"]["yaxis"]["type"] == "log"
    marks = spec["data"][-1]
    assert marks["x"] == [8, 20, 60, 200]
    for step, value, index in zip(marks["x"], marks["y"], (0, 18, 39, 64), strict=True):
        nearest = min(range(len(run.spectra.steps)), key=lambda place: abs(run.spectra.steps[place] - step))
        np.testing.assert_allclose(value, run.spectra.eigenvalues[nearest, index], rtol=1e-4)


def test_step_zero_noise_and_foreign_marks_are_left_out(run_dir: Path) -> None:
    values = np.array([[1.0, 0.5, 0.0], [2.0, 1e-12, -1e-3], [3.0, 1.0, 1e-15]])
    np.savez(
        run_dir / "monitor.npz",
        steps=[0, 1, 10],
        eigenvalues=values,
        rankme=[1, 2, 3],
        content_share=np.full(3, np.nan),
        detected=[[10.0, 7], [10.0, 0]],
    )
    spec = specs(spectrum_section(Run.read(run_dir)).body)["fig-eigenvalues"]
    assert [trace["x"] for trace in spec["data"][:3]] == [[1, 10]] * 3
    assert [trace["y"] for trace in spec["data"][:3]] == [[2, 3], [None, 1], [None, None]]
    assert spec["data"][-1]["x"] == [10]


def test_only_step_zero(run_dir: Path) -> None:
    np.savez(
        run_dir / "monitor.npz",
        steps=[0],
        eigenvalues=[[1.0]],
        rankme=[1],
        content_share=[1],
        detected=np.zeros((0, 2)),
    )
    assert "no measurement after the first step" in spectrum_section(Run.read(run_dir)).body


def test_health_from_the_log_the_monitor_or_neither(run_dir: Path) -> None:
    assert set(specs(health_section(Run.read(run_dir)).body)) == {"fig-rankme", "fig-content-share"}
    (run_dir / "metrics.csv").unlink()
    assert set(specs(health_section(Run.read(run_dir)).body)) == {"fig-rankme", "fig-content-share"}
    (run_dir / "monitor.npz").unlink()
    assert "has no monitor.npz" in health_section(Run.read(run_dir)).body
    assert "has no monitor.npz" in spectrum_section(Run.read(run_dir)).body


def test_predicted_steps_are_circles_on_their_eigenvalues(run_dir: Path) -> None:
    with np.load(run_dir / "monitor.npz") as file:
        arrays = dict(file)
    assert "predicted steps" not in spectrum_section(Run.read(run_dir)).body
    np.savez(run_dir / "monitor.npz", **{**arrays, "predicted": [20.0, 60.0, 1e9]})
    run = Run.read(run_dir)
    spec = specs(spectrum_section(run).body)["fig-eigenvalues"]
    (circles,) = [trace for trace in spec["data"] if trace.get("name") == "predicted steps (2)"]
    assert circles["x"] == [20, 60]
    for step, value, index in zip(circles["x"], circles["y"], (0, 1), strict=True):
        nearest = np.abs(run.spectra.steps - step).argmin()
        np.testing.assert_allclose(value, run.spectra.eigenvalues[nearest, index], rtol=1e-4)

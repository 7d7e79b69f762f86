# SPDX-License-Identifier: Apache-2.0
import json
import re
from pathlib import Path

import numpy as np
import pytest

from conjoin.core.report.run import Run, Series
from conjoin.core.report.training import (
    losses_section,
    probes_section,
    schedules_section,
    smooth,
    throughput_section,
)


def test_smooth_is_a_mean_over_a_window_that_shrinks_at_the_ends() -> None:
    values = np.random.default_rng(0).normal(size=50)
    values[20] = np.nan
    expected = []
    for place in range(50):
        half = min(3, place, 49 - place)
        expected.append(np.nanmean(values[place - half : place + half + 1]))
    np.testing.assert_allclose(smooth(values, 7), expected)
    np.testing.assert_array_equal(smooth(values[:1], 9), values[:1])
    assert np.isnan(smooth(np.full(3, np.nan), 3)).all()


@pytest.mark.parametrize("draw", [losses_section, schedules_section, probes_section, throughput_section])
def test_sections_draw_or_say_why_not(run_dir: Path, draw: object) -> None:
    assert "data-figure" in draw(Run.read(run_dir)).body
    (run_dir / "metrics.csv").unlink()
    body = draw(Run.read(run_dir)).body
    assert "data-figure" not in body
    assert "has no metrics.csv" in body
    (run_dir / "metrics.csv").write_text("step,other\n1,2\n")
    assert "does not hold this" in draw(Run.read(run_dir)).body


def test_terms_have_a_figure_of_their_own_and_the_validation_loss_is_enough() -> None:
    series = Series(np.arange(3.0), np.array([3.0, 2.0, 1.0]))
    body = losses_section(Run(Path("run"), metrics={"val/loss": series, "train/variance": series})).body
    assert 'data-figure="fig-terms"' in body
    assert '"name":"variance"' in body
    assert "the validation loss ends at 1" in body


def test_loss_axis_is_logarithmic_only_over_decades() -> None:
    def body(*values: float) -> str:
        series = Series(np.arange(float(len(values))), np.array(values))
        return losses_section(Run(Path("run"), metrics={"train/loss": series})).body

    assert '"type":"log"' in body(1.0, 0.01)
    assert '"type":"log"' not in body(1.0, 0.5)
    assert '"type":"log"' not in body(1.0, -0.01)


def test_throughput_names_median_wait_and_memory(run_dir: Path) -> None:
    body = throughput_section(Run.read(run_dir)).body
    assert "3.0% of the time" in body
    assert "1.21 GiB" in body


@pytest.mark.parametrize(
    ("metric", "shown"), [("accuracy", [50, 75]), ("macro_auc", [50, 75]), ("rmse", [0.5, 0.75])]
)
def test_a_fine_tuned_model_shows_its_own_figure(metric: str, shown: list[float]) -> None:
    series = Series(np.array([10.0, 20.0]), np.array([0.5, 0.75]))
    section = probes_section(Run(Path("run"), metrics={f"val/{metric}": series}))
    assert section.title == "Validation over training"
    spec = json.loads(re.search(rf'data-figure="fig-val-{metric}">(.*?)</script>', section.body)[1])
    assert spec["data"][0]["y"] == shown
    both = probes_section(Run(Path("run"), metrics={f"val/{metric}": series, "probe/knn_acc": series}))
    assert both.title == "Probes over training"
    assert "fig-probes" in both.body
    assert f"fig-val-{metric}" in both.body

# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from conjoin.core.checkpoint import CheckpointError
from conjoin.core.report import figure, write_report

FILES = ["metrics.csv", "config.yaml", "monitor.npz", "evaluation.json", "checkpoints/last.ckpt"]


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is tested elsewhere: here it would only be five megabytes to search."""
    for module in ("page", "write"):
        monkeypatch.setattr(f"conjoin.core.report.{module}.plotly_source", lambda: "/* plotly */")


def test_all_sections_are_drawn(run_dir: Path, toy: Any, recwarn: pytest.WarningsRecorder) -> None:
    path = write_report(run_dir, datamodule=toy[1], max_images=2, max_samples=50)
    assert path == run_dir / "report.html"
    text = path.read_text()
    assert 'class="absent"' not in text
    assert not [warning for warning in recwarn if "report" in str(warning.message)]
    assert text.count("<section") == 14
    assert text.count("<img") == 2 * 3 + 2 * 4
    names = re.findall(r'data-figure="([^"]*)"', text)
    assert len(set(names)) == len(names) >= 12
    assert "<title>Toy: ijepa-small</title>" in text


def test_plotly_accepts_every_figure(run_dir: Path, toy: Any) -> None:
    objects = pytest.importorskip("plotly.graph_objects")
    text = write_report(run_dir, datamodule=toy[1], max_images=1, max_samples=50).read_text()
    blocks = re.findall(r'<script type="application/json" data-figure="[^"]*">(.*?)</script>', text)
    template = re.search(r'<script type="application/json" id="template">(.*?)</script>', text)[1]
    assert json.loads(template) == json.loads(json.dumps(figure.TEMPLATE))
    objects.layout.Template(json.loads(re.sub(r'"@[a-z]+\d*"', '"#123456"', template)))
    for block in blocks:
        drawn = re.sub(r'"@[a-z]+\d*"|\{"ramp":[-0-9.e]+\}', '"#123456"', block)
        assert "@" not in drawn
        objects.Figure(json.loads(drawn))


def test_every_colour_is_in_the_style_sheet(run_dir: Path, toy: Any) -> None:
    text = write_report(run_dir, datamodule=toy[1], max_images=1, max_samples=50).read_text()
    light, dark = text.split("prefers-color-scheme: dark", 1)
    used = set(re.findall(r'"@([a-z]+\d*)"', text.replace('"@name"', "")))
    assert used >= {"c1", "ink", "bad", "ramp0"}
    for name in used:
        assert f"--{name}: #" in light
        assert f"--{name}: #" in dark


@pytest.mark.parametrize("only", FILES)
def test_any_single_file_is_enough(run_dir: Path, only: str) -> None:
    for name in FILES:
        if name != only:
            (run_dir / name).unlink()
    warns = (
        pytest.warns(UserWarning, match="no pictures")
        if only.endswith("ckpt")
        else pytest.MonkeyPatch.context()
    )
    with warns:
        text = write_report(run_dir).read_text()
    assert text.count("<section") == 14
    absent = re.findall(r'<p class="absent">([^<]*)</p>', text)
    assert len(absent) >= 5
    assert all(sentence.strip().endswith((".", ")", "'")) or ":" in sentence for sentence in absent)


@pytest.mark.parametrize("gone", FILES)
def test_any_single_file_may_be_missing(run_dir: Path, toy: Any, gone: str) -> None:
    (run_dir / gone).unlink()
    text = write_report(run_dir, datamodule=toy[1], max_images=1, max_samples=20).read_text()
    assert f"has no {gone}" in text


def test_a_failing_picture_costs_one_section(run_dir: Path, toy: Any) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no masks <today>\nsecond line")

    toy[0].partition = broken
    with pytest.warns(UserWarning, match="could not draw 'Samples and masks'"):
        text = write_report(run_dir, datamodule=toy[1], max_images=1, max_samples=20).read_text()
    assert "Not drawn: no masks &lt;today&gt;</p>" in text
    assert text.count("<img") == 4


def test_values_from_files_are_escaped(run_dir: Path) -> None:
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    rows = [
        {"features": bad, "probe": bad, "split": bad, "metric": bad, "labels_per_class": None, "value": 0.5}
    ]
    (run_dir / "evaluation.json").write_text(json.dumps({"rows": rows}))
    (run_dir / "config.yaml").write_text(f"model: {{class_path: '{bad}'}}\ndata: {{class_path: '{bad}'}}\n")
    (run_dir / "metrics.csv").write_text(f'step,train/loss,"train/{bad}"\n1,2,3\n2,1,3\n')
    (run_dir / "checkpoints" / "last.ckpt").unlink()
    moved = run_dir.with_name("<b>run&")
    shutil.move(run_dir, moved)
    text = write_report(moved).read_text()
    assert "alert(1)" in text
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "<b>run" not in text


def test_out_and_limits(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "checkpoints" / "last.ckpt").unlink()
    goal = tmp_path / "new" / "page.html"
    assert write_report(run_dir, goal) == goal
    assert goal.is_file()
    assert not (run_dir / "report.html").exists()
    for limits in ({"max_images": 0}, {"max_samples": 1}):
        with pytest.raises(ValueError, match="must be at least"):
            write_report(run_dir, **limits)


def test_a_folder_that_cannot_be_written_keeps_what_it_holds(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_dir / "checkpoints" / "last.ckpt").unlink()
    (run_dir / "report.html").write_text("older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_report(run_dir)
    assert (run_dir / "report.html").read_text() == "older"


def test_without_plotly_nothing_is_begun(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise ImportError("conjoin[report]")

    monkeypatch.setattr("conjoin.core.report.write.plotly_source", missing)
    with pytest.raises(ImportError, match=r"conjoin\[report\]"):
        write_report(run_dir)
    assert not (run_dir / "report.html").exists()

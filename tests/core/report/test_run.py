# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from conjoin.core.report.run import Run


def test_everything_is_read(run_dir: Path) -> None:
    run = Run.read(run_dir)
    assert run.problems == {}
    assert run.steps == 1199
    assert run.setting("data.init_args.batch_size") == 128
    assert run.setting("data.nothing.batch_size") is None
    assert run.spectra.eigenvalues.shape == (len(run.spectra.steps), 96)
    assert len(run.evaluation["rows"]) == 18
    assert run.series("nothing", "val/loss").steps.tolist() == list(range(119, 1200, 120))
    assert run.checkpoint == run_dir / "checkpoints" / "last.ckpt"


def test_later_rows_of_a_step_count_and_steps_ascend(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,a,b\n5,1,\n3,2,nan\n5,4,\n7,word,\n")
    run = Run.read(tmp_path)
    assert run.series("a").steps.tolist() == [3, 5]
    assert run.series("a").values.tolist() == [2, 4]
    assert np.isnan(run.series("b").last)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("evaluation.json", "{", "could not be read"),
        ("evaluation.json", "[]", "has no rows"),
        ("evaluation.json", '{"rows": [{"value": "x"}]}', "no value"),
        ("evaluation.json", '{"rows": [{"value": NaN, "features": "a", "probe": "b"}]}', "no value"),
        ("evaluation.json", '{"rows": [{"value": 1, "probe": "b"}]}', "features"),
        ("config.yaml", "a: [", "could not be read"),
        ("config.yaml", "- a", "not a mapping"),
        ("monitor.npz", "no zip", "could not be read"),
        ("metrics.csv", None, "has no metrics.csv"),
        ("checkpoints/last.ckpt", None, "has no checkpoints/last.ckpt"),
    ],
)
def test_what_cannot_be_used_has_a_sentence(
    run_dir: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is None:
        (run_dir / name).unlink()
    else:
        (run_dir / name).write_text(text)
    problems = Run.read(run_dir).problems
    assert len(problems) == 1
    assert sentence in next(iter(problems.values()))


def test_arrays_that_do_not_fit_are_refused(run_dir: Path) -> None:
    good = dict(np.load(run_dir / "monitor.npz"))
    np.savez(run_dir / "monitor.npz", **good | {"steps": good["steps"][:-1]})
    assert "fit together" in Run.read(run_dir).why("monitor.npz")
    np.savez(run_dir / "monitor.npz", steps=good["steps"])
    assert Run.read(run_dir).spectra is None


def test_wrong_places_are_refused(tmp_path: Path, run_dir: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder"):
        Run.read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds none of"):
        Run.read(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Run.read(run_dir, run_dir / "other.ckpt")

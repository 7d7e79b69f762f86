# SPDX-License-Identifier: Apache-2.0
"""``conjoin rank``: from run folders to a table and files; what is taken for a run."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from conjoin.core.cli.errors import UserError
from conjoin.core.cli.rank import checkpoints, names

FEW = ("--samples", "12", "--view_samples", "4", "--views", "2")


def copied(run: Path, number: int, factor: float) -> Path:
    """A copy of a run of the toy with other weights."""
    copy = run.with_name(f"version_{number}")
    shutil.copytree(run, copy)
    path = copy / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["encoder.proj.weight"] *= factor
    torch.save(checkpoint, path)
    return copy


@pytest.fixture
def three(run):
    """Three runs: the toy, the toy with all weights zeroed, and with larger ones."""
    for number, factor in ((1, 0.0), (2, 3.0)):
        copied(run, number, factor)
    return run.parent


def test_rank_orders_and_writes(three, folder, conjoin):
    code, out, err = conjoin("rank", three, *FEW, "--out", "r.json")
    assert code == 0, err
    whole = json.loads((folder / "r.json").read_text())
    values = [line["rankme"] for line in whole["runs"]]
    assert values == sorted(values, reverse=True)
    assert whole["runs"][-1]["name"] == "toy-small/version_1"  # the collapsed one
    assert whole["runs"][0]["rows"] == 12
    assert (whole["space"], whole["split"]) == ("representation", "train")
    assert {line["probe"]["metric"] for line in whole["runs"]} == {"accuracy"}
    assert {line["measure"] for line in whole["agreement"]} >= {"rankme", "nesum"}
    assert "version_2" in out
    assert "Spearman" in out
    # The toy has no training transform; of a single point LiDAR can be said all the same.
    assert "No LiDAR and no alignment for toy-small/version_" in out
    assert whole["runs"][-1]["lidar"] == pytest.approx(1, abs=1e-4)


def test_rank_without_labels_by_another_measure(three, folder, conjoin):
    arguments = ("--no_probe", "--by", "coherence", "--split", "test", "--out", "r.csv")
    code, out, err = conjoin("rank", *sorted(three.iterdir()), *FEW, *arguments)
    assert code == 0, err
    with (folder / "r.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3
    values = [float(line["coherence"]) for line in lines]
    assert values == sorted(values)
    assert "Spearman" not in out


@pytest.mark.filterwarnings("ignore:.*are NaN or infinite:UserWarning")
@pytest.mark.parametrize("by", ["rankme", "lidar"])
def test_a_diverged_run_is_last_with_its_reason(run, folder, conjoin, by):
    copied(run, 1, math.nan)
    copied(run, 2, 3.0)
    code, out, err = conjoin("rank", run.parent, *FEW, "--by", by, "--out", "r.json")
    assert code == 0, err
    lines = json.loads((folder / "r.json").read_text())["runs"]
    assert [line["name"][-1] for line in lines[:2]] in (["0", "2"], ["2", "0"])
    assert lines[2]["name"] == "toy-small/version_1"
    assert lines[2]["rankme"] is None
    assert lines[2]["probe"] == {}
    assert lines[0]["probe"]["metric"] == "accuracy"
    assert [bool(line["reason"]) for line in lines] == [False, False, True]
    assert "toy-small/version_1: it has diverged: its embeddings are NaN or infinite." in out


def test_a_lost_checkpoint_does_not_cost_the_others_their_places(run, folder, conjoin):
    last = copied(run, 1, 3.0) / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:500])
    (copied(run, 2, 3.0) / "config.yaml").write_text("model: {}")
    code, out, err = conjoin("rank", run.parent, *FEW, "--no_probe", "--out", "r.json")
    assert code == 2
    assert "toy-small/version_1 is left out: " in err
    assert "last.ckpt is truncated" in err
    assert "toy-small/version_2 is left out: " in err
    assert "2 of 3 runs could not be measured whole: toy-small/version_1, toy-small/version_2" in err
    assert "Traceback" not in err
    assert "version_0" in out
    assert [line["name"] for line in json.loads((folder / "r.json").read_text())["runs"]] == [
        "toy-small/version_0"
    ]
    code, _, err = conjoin("rank", *(run.with_name(f"version_{i}") for i in (1, 2)), *FEW)
    assert code == 2
    assert "None of the 2 runs could be measured" in err


def test_a_run_without_a_probe_keeps_its_place(three, folder, conjoin, monkeypatch):
    def failing(model, data, **kwargs):
        if bool(model.encoder.proj.weight.any()):
            return {"metric": "accuracy", "val": 0.5, "test": 0.5}
        raise RuntimeError("no convergence")

    monkeypatch.setattr("conjoin.core.cli.rank.probe", failing)
    code, _, err = conjoin("rank", three, *FEW, "--out", "r.json")
    assert code == 2
    assert "conjoin: toy-small/version_1 has no probe: no convergence" in err
    lines = json.loads((folder / "r.json").read_text())["runs"]
    assert [bool(line["probe"]) for line in lines] == [True, True, False]


def test_rank_on_other_data(three, conjoin, folder):
    data = ("--data", "conjoin_toy.ToyData", "--data.size", "10", "--no_probe", "--out", "r.json")
    code, _, err = conjoin("rank", three / "version_0", *FEW, *data)
    assert code == 0, err
    assert json.loads((folder / "r.json").read_text())["runs"][0]["rows"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere is neither a checkpoint nor a folder with checkpoints/last.ckpt"),
        (("--out", "r.txt"), "must end in .json or .csv"),
        (("--views", "1"), "--views must be at least 2, not 1"),
        (("--by", "loss"), "loss"),
        (("--space", "projection"), "ToySystem has no projector"),
        (("runs/toy-small/version_0/config.yaml",), "config.yaml is not a checkpoint: give a run's folder"),
        (("--device", "toaster"), "--device toaster: there is no such device"),
        (("--device", "cuda:99"), "--device cuda:99: this machine has "),
    ],
)
def test_refusals(run, conjoin, arguments, message):
    code, _, err = conjoin("rank", *arguments)
    assert code == 2
    assert message in err


def test_checkpoints(tmp_path: Path) -> None:
    for name in ("a/version_0", "a/version_1", "b/version_0"):
        path = tmp_path / name / "checkpoints"
        path.mkdir(parents=True)
        (path / "last.ckpt").touch()
        (path / "step=5.ckpt").touch()
    loose = tmp_path / "loose.ckpt"
    loose.touch()
    sharded = tmp_path / "sharded.ckpt"
    sharded.mkdir()
    (sharded / ".metadata").touch()
    step = tmp_path / "a/version_0/checkpoints/step=5.ckpt"
    found = checkpoints(
        [str(path) for path in (tmp_path / "a", step, loose, sharded, tmp_path / "a/version_0")]
    )
    short = ["a/version_0", "a/version_1", "a/version_0/step=5", "loose", "sharded"]
    assert names(found) == short
    assert names([loose, tmp_path / "other" / "loose.ckpt"]) == [
        str(loose),
        str(tmp_path / "other" / "loose.ckpt"),
    ]
    (tmp_path / "b/version_0/checkpoints/step=7.ckpt").touch()
    assert checkpoints([str(step.parent)]) == [step.with_name("last.ckpt")]
    steps = tmp_path / "b/version_0/checkpoints"
    (steps / "last.ckpt").unlink()
    assert checkpoints([str(steps)]) == [steps / "step=5.ckpt", steps / "step=7.ckpt"]
    with pytest.raises(UserError, match="neither a checkpoint nor a folder"):
        checkpoints([str(tmp_path / "b" / "version_0" / "nothing")])

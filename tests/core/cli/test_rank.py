# SPDX-License-Identifier: Apache-2.0
"""``conjoin rank``: from run folders to a table and files; what is taken for a run."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from conjoin.core.cli.errors import UserError
from conjoin.core.cli.rank import checkpoints, names

FEW = ("--samples", "12", "--view_samples", "4", "--views", "2")


@pytest.fixture
def three(run):
    """Three runs: the toy, the toy with all weights zeroed, and with larger ones."""
    for number, factor in ((1, 0.0), (2, 3.0)):
        copy = run.with_name(f"version_{number}")
        shutil.copytree(run, copy)
        path = copy / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["state_dict"]["encoder.proj.weight"] *= factor
        torch.save(checkpoint, path)
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
    with pytest.raises(UserError, match="neither a checkpoint nor a folder"):
        checkpoints([str(tmp_path / "b" / "version_0" / "nothing")])

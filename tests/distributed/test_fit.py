# SPDX-License-Identifier: Apache-2.0
"""Two processes follow one process on the same global batch, under DDP and under FSDP2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conjoin.core.checkpoint_io import CheckpointError, load

DRIVER = Path(__file__).with_name("fit_driver.py")
sys.path.insert(0, str(DRIVER.parents[1] / "integration"))

pytestmark = [pytest.mark.slow, pytest.mark.ddp]


def fit(folder, name, system="jepa"):
    folder = folder / name
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(DRIVER), str(folder), name, system],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, json.loads((folder / "losses.json").read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("one"), "one")


@pytest.mark.parametrize("name", ["ddp", "fsdp", "fsdp-sharded"])
def test_two_processes_follow_one(tmp_path, one, name):
    folder, found = fit(tmp_path, name)
    reference_folder, expected = one
    assert len(found["losses"]) == len(expected["losses"]) == 24
    assert found["losses"] == pytest.approx(expected["losses"], rel=2e-6)
    for metric in (
        "monitor/rankme",
        "monitor/content_share",
        "probe/linear_acc",
        "probe/knn_acc",
        "val/loss",
    ):
        assert found["metrics"][metric] == pytest.approx(expected["metrics"][metric], rel=1e-4), metric

    if name == "fsdp-sharded":
        with pytest.raises(CheckpointError, match="trust=True"):
            load(folder / "last.ckpt")
    ours = load(folder / "last.ckpt", trust=name == "fsdp-sharded")
    theirs = load(reference_folder / "last.ckpt")
    assert ours["conjoin"] == theirs["conjoin"]
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for key, value in theirs["state_dict"].items():  # the teacher's average included
        torch.testing.assert_close(ours["state_dict"][key], value, rtol=1e-5, atol=1e-6)

    import tiny  # a sharded checkpoint reloads in one process

    model = tiny.TinyJEPA.load_from_checkpoint(folder / "last.ckpt", weights_only=name != "fsdp-sharded")
    assert torch.equal(model.teacher.project.weight, ours["state_dict"]["teacher.project.weight"])


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
@pytest.mark.parametrize("system", ["swav", "clip", "ibot"])
def test_parameters_of_all_kinds_follow_one_process(tmp_path, system, name):
    """Prototypes on a sphere, a temperature in its range, a mask token, where ranks hold parts of them."""
    reference_folder, expected = fit(tmp_path, "one", system)
    folder, found = fit(tmp_path, name, system)
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    ours, theirs = (load(where / "last.ckpt")["state_dict"] for where in (folder, reference_folder))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-6)
    if system == "clip":
        assert ours["objective.log_scale"].exp().item() == pytest.approx(14.3)  # it has come to its limit
    elif system == "ibot":
        assert ours["mask_token.token"].abs().max() > 1e-4  # it has learnt
    else:
        torch.testing.assert_close(ours["objective.prototypes"].norm(dim=1), torch.ones(12))

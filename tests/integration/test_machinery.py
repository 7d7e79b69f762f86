# SPDX-License-Identifier: Apache-2.0
"""What holds for every system of the catalogue: resume, two processes, EMA, monitors, the commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

sys.path.insert(0, str(Path(__file__).parent))
from resume_driver import differences
from tiny import Losses

from conjoin.core.callbacks import EMATeacher
from conjoin.core.checkpoint import load_model
from conjoin.core.checkpoint_io import SaveLast, load
from conjoin.core.cli.lightning import ConjoinCLI
from conjoin.core.cli.main import main
from conjoin.core.cli.recipes import catalogue

SMALL = {name: recipe.config for name, recipe in catalogue().items() if recipe.size == "small"}
# One recipe of each system: its others differ in what the resume test looks at.
SYSTEMS = {config["model"]["class_path"]: name for name, config in reversed(SMALL.items())}.values()
each_system = pytest.mark.parametrize("whole", SYSTEMS, indirect=True)
DRIVER = Path(__file__).with_name("machinery_driver.py")
STEPS, BATCH = 4, 4
# What four samples are too few for.
SPECIAL = {"wmse-small": {"model.objective.init_args.eps": 0.1}}

pytestmark = pytest.mark.slow


def flags(name: str, root: Path, **more: object) -> list[str]:
    """A recipe cut down to a few steps of a few samples, in single precision, with all that it watches."""
    options = {
        "data.batch_size": BATCH,
        "trainer.max_epochs": -1,
        "trainer.max_steps": STEPS,
        "trainer.limit_train_batches": 3,
        "trainer.limit_val_batches": 2,
        "trainer.precision": "32-true",
        "trainer.default_root_dir": root,
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        **SPECIAL.get(name, {}),
        **more,
    }
    return ["--config", name, *(f"--{key}={value}" for key, value in options.items())]


class Killed(Exception):
    pass


class Kill(pl.Callback):
    """Ends a run before the batch that follows an optimiser step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Killed


def fit(name: str, root: Path, *callbacks: pl.Callback, ckpt_path: Path | None = None) -> pl.Trainer:
    torch.set_num_threads(1)
    cli = ConjoinCLI("fit", flags(name, root), run=False)
    saving = next(callback for callback in cli.trainer.callbacks if isinstance(callback, SaveLast))
    saving.every_n_steps = 1
    cli.trainer.callbacks[-1:-1] = callbacks
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    return cli.trainer


@pytest.fixture(scope="module", params=SMALL)
def whole(request, tmp_path_factory):
    """A recipe's name and the checkpoint of its short run, left alone."""
    root = tmp_path_factory.mktemp(request.param)
    losses = Losses()
    trainer = fit(request.param, root, losses)
    assert trainer.global_step == STEPS
    (checkpoint,) = root.rglob("last.ckpt")
    return request.param, checkpoint, losses.values


def test_resume_is_bit_for_bit(whole, tmp_path):
    name, reference, _ = whole
    with pytest.raises(Killed):
        fit(name, tmp_path, Kill(2))
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    fit(name, tmp_path, ckpt_path=checkpoint)
    newest = max(tmp_path.rglob("last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    ours, theirs = load(newest), load(reference)
    assert ours["global_step"] == theirs["global_step"] == STEPS
    for part in ("state_dict", "optimizer_states", "callbacks"):
        assert not list(differences(theirs[part], ours[part], part))


def test_weights_and_teacher_have_moved(whole):
    name, checkpoint, _ = whole
    model = load_model(checkpoint)
    start = ConjoinCLI("fit", flags(name, checkpoint.parent), run=False).model
    before, after = start.state_dict(), model.state_dict()
    moved = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert "encoder" in moved
    averages = [callback for callback in start.configure_callbacks() if isinstance(callback, EMATeacher)]
    for average in averages:
        assert average.teacher.split(".")[0] in moved


def test_monitors_write_their_record(whole):
    _, checkpoint, _ = whole
    with np.load(checkpoint.parents[1] / "monitor.npz") as file:
        assert np.isfinite(file["rankme"]).all()
        assert file["steps"].tolist() == list(range(1, STEPS + 1))


@each_system
def test_two_processes_follow_one(whole, tmp_path):
    """Each rank trains on its own half of the batch that one process would see.

    Plain batch norm, which some systems have as released, normalises each half alone: there the steps are
    counted, and the exact comparisons are those of the systems' own tests.
    """
    name, checkpoint, losses = whole
    subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), name],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = json.loads((tmp_path / "losses.json").read_text())
    if any(isinstance(module, _BatchNorm) for module in load_model(checkpoint).modules()):
        assert len(found) == len(losses)
        assert np.isfinite(found).all()
    else:  # the first loss is that of equal weights; later ones compare the gradients too
        assert found == pytest.approx(losses, rel=2e-4)


@each_system
def test_embeds(whole, tmp_path):
    _, checkpoint, _ = whole
    out = tmp_path / "features.npz"
    assert main(["embed", "--checkpoint", str(checkpoint), "--split", "val", "--out", str(out)]) in (0, None)
    with np.load(out) as file:
        features = file["embedding"]
    assert np.isfinite(features).all()
    assert np.ptp(features, axis=0).max() > 0


@each_system
def test_reports(whole):
    _, checkpoint, _ = whole
    assert main(["report", str(checkpoint.parents[1])]) in (0, None)
    text = (checkpoint.parents[1] / "report.html").read_text()
    assert "fig-eigenvalues" in text
    assert "Traceback" not in text

# SPDX-License-Identifier: Apache-2.0
"""A run that is killed and goes on is the run that was never killed, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest

from conjoin.core.checkpoint_io import SaveLast

DRIVER = Path(__file__).with_name("resume_driver.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "accumulate", "kills"),
    [(0, 1, 20), (2, 1, 6), (0, 2, 8)],
    ids=["20 kills", "two workers", "accumulation"],
)
def test_killed_runs_end_where_whole_runs_end(tmp_path, workers, accumulate, kills):
    result = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), str(workers), str(accumulate), str(kills)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.splitlines()[-1].startswith(f"identical after {kills} kills"), result.stdout


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter(tmp_path):
    sys.path.insert(0, str(DRIVER.parent))
    import resume_driver

    sys.path.pop(0)
    for workers in (0, 2):
        assert resume_driver.forked(tmp_path / str(workers), workers, 1)
    a, b = (resume_driver.load(tmp_path / str(w) / "checkpoints" / "last.ckpt") for w in (0, 2))
    assert not list(resume_driver.differences(a["state_dict"], b["state_dict"]))
    assert not list(resume_driver.differences(a["callbacks"], b["callbacks"]))


class Leave(pl.Callback):
    """Asks the run to end after an optimiser step, as a time limit does."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.should_stop = True


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_was_asked_to_stop_goes_on_inside_its_epoch(tmp_path, monkeypatch, accumulate):
    """Five steps into an epoch of twelve (six) it is stopped; with the rest it is the whole run."""
    monkeypatch.syspath_prepend(DRIVER.parent)
    import resume_driver
    import tiny

    def run(folder, *callbacks):
        last = folder / "checkpoints" / "last.ckpt"
        options = {"accumulate_grad_batches": accumulate, "enable_checkpointing": True}
        trainer = tiny.trainer(folder, callbacks=[*tiny.monitors(), SaveLast(), *callbacks], **options)
        data = tiny.TinyData(batch_size=8)
        trainer.fit(tiny.TinyJEPA(), data, ckpt_path=last if last.exists() else None)
        return trainer.global_step, resume_driver.load(last)

    _, whole = run(tmp_path / "whole")
    assert run(tmp_path / "left", Leave(5))[0] == 5
    steps, left = run(tmp_path / "left")
    assert steps == whole["global_step"]
    for part in ("state_dict", "optimizer_states", "callbacks"):
        assert not list(resume_driver.differences(whole[part], left[part], part))

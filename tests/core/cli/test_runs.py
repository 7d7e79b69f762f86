# SPDX-License-Identifier: Apache-2.0
"""Run folders, and a history that a resumed run continues without a gap or a repeat."""

import csv
import os

import pytest

from conjoin.core.cli.errors import UserError
from conjoin.core.cli.runs import RunLogger, newest_checkpoint, run_of


def rows(logger):
    with open(os.path.join(logger.log_dir, "metrics.csv"), newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def write(logger, steps):
    for step in steps:
        logger.log_metrics({"loss": float(step)}, step)
    logger.save()


def test_the_newest_checkpoint_is_the_one_written_last(tmp_path):
    for number, name in enumerate(("b/version_0", "a/version_3", "c/version_1")):
        path = tmp_path / name / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (100 - number, 100 - number) if number else (500, 500))
    assert newest_checkpoint(tmp_path) == tmp_path / "b" / "version_0" / "checkpoints" / "last.ckpt"
    assert newest_checkpoint(tmp_path / "c").parts[-3] == "version_1"
    with pytest.raises(UserError, match="no run with a checkpoint below"):
        newest_checkpoint(tmp_path / "d")


def test_the_run_of_a_checkpoint(tmp_path):
    assert run_of(tmp_path / "r" / "checkpoints" / "step=3.ckpt") == (tmp_path / "r").resolve()
    assert run_of(tmp_path / "elsewhere" / "x.ckpt") is None


def test_a_new_run_is_a_new_version(tmp_path):
    first, second = (RunLogger(str(tmp_path), "toy") for _ in range(2))
    write(first, [0])
    write(second, [0])
    assert [os.path.basename(logger.log_dir) for logger in (first, second)] == ["version_0", "version_1"]


def test_a_resumed_run_forgets_what_comes_again(tmp_path):
    write(RunLogger(str(tmp_path), "toy", "version_0"), range(6))
    again = RunLogger(str(tmp_path), "toy", "version_0", resume_step=4)
    write(again, [4, 5, 6])
    assert rows(again) == [(str(step), f"{float(step)}") for step in range(7)]


def test_a_torn_last_row_is_dropped(tmp_path):
    first = RunLogger(str(tmp_path), "toy", "version_0")
    write(first, range(3))
    with open(os.path.join(first.log_dir, "metrics.csv"), "a") as file:
        file.write("9.0")
    again = RunLogger(str(tmp_path), "toy", "version_0")
    write(again, [3])
    assert [step for step, _ in rows(again)] == ["0", "1", "2", "3"]


def test_new_columns_join_the_old_ones(tmp_path):
    first = RunLogger(str(tmp_path), "toy", "version_0")
    write(first, [0])
    again = RunLogger(str(tmp_path), "toy", "version_0")
    again.log_metrics({"test": 0.5}, 1)
    again.save()
    with open(os.path.join(again.log_dir, "metrics.csv"), newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0]["loss"] == "0.0"
    assert found[1]["test"] == "0.5"
    assert found[1]["loss"] == ""

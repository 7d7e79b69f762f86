# SPDX-License-Identifier: Apache-2.0
"""A run that is killed and goes on is the run that was never killed, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

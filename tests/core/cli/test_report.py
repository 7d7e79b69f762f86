# SPDX-License-Identifier: Apache-2.0
"""``conjoin report`` hands its arguments on; the page itself is tested with the report."""

import shutil

import pytest

import conjoin.core.report


@pytest.fixture
def written(monkeypatch):
    """The calls of ``write_report``, which is replaced."""
    calls = []

    def write(folder, out=None, *, checkpoint=None):
        calls.append((folder, out, checkpoint))
        return out or folder / "report.html"

    monkeypatch.setattr(conjoin.core.report, "write_report", write)
    return calls


def test_the_newest_run_is_the_default(run, conjoin, written):
    code, out, err = conjoin("report")
    assert code == 0, err
    ((folder, target, checkpoint),) = written
    assert folder.resolve() == run.resolve()
    assert (target, checkpoint) == (None, None)
    assert out.strip().endswith("report.html")


def test_folder_goal_and_checkpoint(run, folder, conjoin, written):
    other = shutil.copy(run / "checkpoints" / "last.ckpt", folder / "other.ckpt")
    code, out, err = conjoin("report", run, "--out", folder / "a" / "page.html", "--checkpoint", other)
    assert code == 0, err
    assert written == [(run, folder / "a" / "page.html", other)]
    assert out.strip() == str(folder / "a" / "page.html")


def test_no_such_run(folder, conjoin, written):
    code, _, err = conjoin("report", "nowhere")
    assert code == 2
    assert "There is no run folder nowhere" in err
    assert conjoin("report")[0] == 2
    assert written == []

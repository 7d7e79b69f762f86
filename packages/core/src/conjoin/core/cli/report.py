# SPDX-License-Identifier: Apache-2.0
"""``conjoin report``: one HTML page about a run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from conjoin.core.cli.errors import UserError

__all__ = ("run",)


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin report [RUN] [--out page.html] [--checkpoint step=100.ckpt]``."""
    parser = argparse.ArgumentParser(
        f"conjoin {command}", description="Write one self-contained HTML page about a run."
    )
    parser.add_argument("run", nargs="?", default="last", help="the run's folder; the newest run if left out")
    parser.add_argument(
        "--out", type=Path, help="where to put the page; report.html in the run's folder if left out"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="another checkpoint than checkpoints/last.ckpt of the run"
    )
    given = parser.parse_args(arguments)

    from conjoin.core import plugins
    from conjoin.core.cli.runs import RUNS, newest_checkpoint, run_of
    from conjoin.core.report import write_report

    folder = run_of(newest_checkpoint(RUNS)) if given.run == "last" else Path(given.run)
    if folder is None or not folder.is_dir():
        raise UserError(f"There is no run folder {given.run}")
    plugins.load()
    print(write_report(folder, given.out, checkpoint=given.checkpoint))

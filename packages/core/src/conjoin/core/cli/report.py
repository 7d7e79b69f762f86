# SPDX-License-Identifier: Apache-2.0
"""``conjoin report``: one HTML page about a run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from conjoin.core.cli.errors import UserError

__all__ = ("run",)


def run(command: str, arguments: Sequence[str]) -> None:
    """``conjoin report [RUN] [--out page.html]``."""
    parser = argparse.ArgumentParser(
        f"conjoin {command}", description="Write one self-contained HTML page about a run."
    )
    parser.add_argument("run", nargs="?", default="last", help="the run's folder; the newest run if left out")
    parser.add_argument(
        "--out", type=Path, help="where to put the page; report.html in the run's folder if left out"
    )
    given = parser.parse_args(arguments)

    from conjoin.core import plugins
    from conjoin.core.cli.runs import RUNS, newest_checkpoint, run_of
    from conjoin.core.report import write_report

    folder = run_of(newest_checkpoint(RUNS)) if given.run == "last" else Path(given.run)
    if folder is None or not folder.is_dir():
        raise UserError(f"There is no run folder {given.run}")
    plugins.load()
    page = write_report(folder)
    if given.out and given.out.resolve() != page.resolve():
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_bytes(page.read_bytes())
        page.unlink()
        page = given.out
    print(page)

# SPDX-License-Identifier: Apache-2.0
"""Run folders: ``runs/<recipe or class>/version_N`` with ``checkpoints/last.ckpt`` in it."""

import csv
import os
from pathlib import Path
from typing import cast

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from conjoin.core.cli.errors import UserError

__all__ = ("RUNS", "RunLogger", "newest_checkpoint", "run_of")

RUNS = "runs"


def newest_checkpoint(folder: str | Path) -> Path:
    """The ``last.ckpt`` that was written last in any run below ``folder``.

    Raises:
        UserError: If there is none.
    """
    found = sorted(Path(folder).glob("**/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise UserError(
            f"There is no run with a checkpoint below {folder}: run `conjoin fit` first, or give --ckpt_path"
        )
    return found[-1]


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, or None if it lies somewhere else."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == "checkpoints" else None


class _Writer(ExperimentWriter):
    """Lightning's writer deletes what it finds; this one goes on from it."""

    def __init__(self, log_dir: str, resume_step: int | None) -> None:
        self._resume_step = resume_step
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            rows = [row for row in reader if self._kept(row)]
        self.metrics_keys = names
        part = path.with_suffix(".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, path)

    def _kept(self, row: dict[str, str | None]) -> bool:
        """Whole rows (a kill may cut the last one) from before the step that training resumes at."""
        if None in row.values() or not (row.get("step") or "").isdigit():
            return False
        return self._resume_step is None or int(row["step"] or 0) < self._resume_step


class RunLogger(CSVLogger):
    """A CSV history that a resumed run continues.

    Args:
        save_dir: The folder of all runs.
        name: Recipe or class.
        version: The run; a new one if not given.
        resume_step: Forget rows from this optimiser step on: they come again. None keeps all rows.
        flush_logs_every_n_steps: How often the file is written.
    """

    def __init__(
        self,
        save_dir: str = RUNS,
        name: str = "run",
        version: int | str | None = None,
        resume_step: int | None = None,
        flush_logs_every_n_steps: int = 50,
    ) -> None:
        super().__init__(save_dir, name, version, flush_logs_every_n_steps=flush_logs_every_n_steps)
        self._resume_step = resume_step

    def _writer(self) -> _Writer:
        os.makedirs(self.root_dir, exist_ok=True)
        return _Writer(self.log_dir, self._resume_step)

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer; nothing is written on ranks other than zero."""
        from lightning.fabric.loggers.logger import rank_zero_experiment

        if self._experiment is None:
            self._experiment = rank_zero_experiment(RunLogger._writer)(self)
        return cast(ExperimentWriter, self._experiment)

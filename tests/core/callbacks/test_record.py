# SPDX-License-Identifier: Apache-2.0
"""A measurement is written at its own step, whatever the trainer's rhythm of logging."""

import csv
import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger

from conjoin.core.callbacks.record import record, run_folder

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer


class Measure(pl.Callback):
    """The number of the batch, at every third batch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx % 3 == 2:
            record(trainer, pl_module, {"monitor/batch": float(batch_idx)})


def test_rows_at_their_steps_between_those_of_the_trainer(tmp_path):
    logger = CSVLogger(tmp_path, name="a", version="b")
    fit = trainer(tmp_path, [Measure()], steps=6, logger=logger, log_every_n_steps=1000)
    fit.fit(Tiny(), Data())
    with (tmp_path / "a" / "b" / "metrics.csv").open() as file:
        rows = [(row["step"], row["monitor/batch"]) for row in csv.DictReader(file) if row["monitor/batch"]]
    assert rows == [("2", "2.0"), ("5", "5.0")]
    assert fit.callback_metrics["monitor/batch"] == 5
    assert run_folder(fit) == tmp_path / "a" / "b"


def test_without_a_logger_the_folder_is_the_root(tmp_path):
    fit = trainer(tmp_path, [Measure()], steps=3)
    fit.fit(Tiny(), Data())
    assert fit.callback_metrics["monitor/batch"] == 2
    assert run_folder(fit) == tmp_path

# SPDX-License-Identifier: Apache-2.0
"""Writing a measurement down at the step where it was made."""

from collections.abc import Mapping
from pathlib import Path

import lightning.pytorch as pl

__all__ = ("record", "run_folder")


def record(trainer: pl.Trainer, module: pl.LightningModule, values: Mapping[str, float]) -> None:
    """Log values from ``on_train_batch_end``, whatever ``log_every_n_steps`` says.

    ``module.log`` alone would drop them at every step that the trainer does not log. They go to the
    loggers under the step number that Lightning gives this batch, and to ``callback_metrics``.
    """
    for name, value in values.items():
        module.log(name, value, on_step=True, on_epoch=False, logger=False, batch_size=1)
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=max(trainer.global_step - 1, 0))


def run_folder(trainer: pl.Trainer) -> Path:
    """Where a run keeps its files. Every rank must ask: Lightning broadcasts the logger's folder."""
    return Path(trainer.log_dir or trainer.default_root_dir)

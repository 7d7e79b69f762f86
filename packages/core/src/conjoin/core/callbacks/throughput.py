# SPDX-License-Identifier: Apache-2.0
"""How fast training runs, how long it waits for data, how much memory it takes."""

import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn

from conjoin.core.callbacks.record import record
from conjoin.core.distributed import world_size

__all__ = ("Throughput",)


class Throughput(pl.Callback):
    """Logs ``throughput/samples_per_s``, ``throughput/data_wait`` and ``throughput/max_memory_gib``.

    Values are those of windows of ``every_n_steps`` batches, the first batch of a run left out, validation
    excluded. A GPU is waited for once per window, at its end: the time between launches says nothing.
    ``data_wait`` is the share of the window in which the training loop had no batch; memory is the peak
    allocation of this rank's GPU, or the peak resident size of the process without one.

    Args:
        every_n_steps: Batches per window.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin, with the first batch still to come."""
        self._warm = False
        self._clear()

    def _clear(self) -> None:
        self._batches, self._samples = 0, 0
        self._elapsed, self._waited = 0.0, 0.0
        self._since: float | None = None
        self._idle_since: float | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is here."""
        if self._idle_since is not None:
            self._waited += time.perf_counter() - self._idle_since
            self._idle_since = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and log when a window is full."""
        if not self._warm:
            # The first batch pays for compilation, allocation and the workers' start.
            self._warm = True
            self._start(pl_module)
            return
        self._batches += 1
        self._samples += len(batch["x"])
        if self._batches >= self.every_n_steps:
            self._stop(pl_module)
            values = {
                "throughput/samples_per_s": self._samples * world_size() / self._elapsed,
                "throughput/data_wait": self._waited / self._elapsed,
                "throughput/max_memory_gib": _max_memory(pl_module.device) / 2**30,
            }
            record(trainer, pl_module, values)
            self._clear()
            self._since = time.perf_counter()
        self._idle_since = time.perf_counter()

    def _start(self, module: pl.LightningModule) -> None:
        _wait_for(module.device)
        self._since = self._idle_since = time.perf_counter()

    def _stop(self, module: pl.LightningModule) -> None:
        if self._since is not None:
            _wait_for(module.device)
            self._elapsed += time.perf_counter() - self._since
            self._since = self._idle_since = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and self._warm:
            self._stop(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start it again."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and self._warm:
            self._start(pl_module)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _max_memory(device: torch.device) -> int:
    """Bytes at the peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # the standard library cannot tell
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

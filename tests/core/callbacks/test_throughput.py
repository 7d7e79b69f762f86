# SPDX-License-Identifier: Apache-2.0
"""Throughput on a clock of the test's own."""

import sys
from pathlib import Path
from typing import Any

import pytest

from conjoin.core.callbacks import Throughput, throughput

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer


class Clock:
    """Time that passes only where the test says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Timed(Tiny):
    """A step takes a second, a validation batch a hundred."""

    clock: Clock

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.clock.now += 1
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.clock.now += 100


class TimedData(Data):
    """Each batch takes a quarter of a second to come, the very first one ten."""

    clock: Clock

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer is not None and self.trainer.training:
            self.clock.now += 0.25 if self.clock.now else 10
        return batch


def test_throughput_counts_steps_and_waits_but_not_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    model, data = Timed(), TimedData()
    model.clock = data.clock = clock
    # Epochs of six batches: the window of batches 2 to 11 has a validation in its middle.
    fit = trainer(tmp_path, [Throughput(every_n_steps=10)], steps=11)
    fit.fit(model, data)
    assert clock.now > 100  # there was a validation
    assert fit.callback_metrics["throughput/samples_per_s"] == pytest.approx(8 / 1.25)
    assert fit.callback_metrics["throughput/data_wait"] == pytest.approx(0.2)
    assert 0.05 < fit.callback_metrics["throughput/max_memory_gib"] < 64


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be at least 1"):
        Throughput(0)

# SPDX-License-Identifier: Apache-2.0
"""Watching a representation while it is trained, without labels."""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from conjoin.core.callbacks.alarms import (
    Alarm,
    AssignmentCollapse,
    FeatureStdCollapse,
    LowContentShare,
    NonFiniteLoss,
    ProjectionCollapse,
    RankMeDrop,
    Reading,
)
from conjoin.core.callbacks.eigensteps import is_log_spaced
from conjoin.core.callbacks.feature_buffer import FeatureBuffer
from conjoin.core.callbacks.record import record, run_folder
from conjoin.core.callbacks.trajectory import Trajectory
from conjoin.core.distributed import all_reduce_min, all_reduce_sum, gather_rows, world_size
from conjoin.core.metrics.content import ContentMoments
from conjoin.core.metrics.spectrum import participation_ratio, rankme, rankme_from_singular_values, spectrum

__all__ = ("RepresentationMonitor",)

_DEFAULT_ALARMS = (
    RankMeDrop(),
    LowContentShare(),
    FeatureStdCollapse(),
    ProjectionCollapse(),
    AssignmentCollapse(),
    NonFiniteLoss(),
)

# RankMe of projections takes the eigenvalues of a matrix of this many rows at most, whatever their width.
_RANKED_ROWS = 1024


class RepresentationMonitor(pl.Callback):
    """Logs the health of the embeddings and of the targets, keeps eigenvalues, raises alarms.

    Every ``every_n_steps`` optimiser steps, and at log-spaced steps, it looks at the last
    ``max_samples`` training embeddings of all ranks and logs ``monitor/rankme``, ``monitor/eig_max``,
    ``monitor/participation_ratio``, ``monitor/feature_std``, ``monitor/content_share`` (of this step's
    targets, if the method has targets), ``monitor/projection_std``, ``monitor/projection_scale`` and
    ``monitor/projection_rankme`` (of this step's projections, if it has any),
    ``monitor/assignment_information`` (of this step's prototypes, if it has any) and its own cost,
    ``monitor/time_share``. The eigenvalues of the covariance at the log-spaced steps are kept and written,
    with the discrete steps found in them, to ``monitor.npz`` in the run's folder when validation or training
    ends.

    Args:
        max_samples: Embeddings to look at, over all ranks.
        every_n_steps: Optimiser steps between measurements.
        points_per_decade: Log-spaced measurements per factor of ten in steps.
        alarms: Rules; the default ones if not given, none if empty.
        on_alarm: ``"warn"`` says it once, ``"stop"`` also ends training.
        predicted_steps: Optimiser steps at which a theory expects the eigenvalues to be learned, the largest
            first (see :mod:`conjoin.core.theory`); the report draws them beside those that are detected.
    """

    def __init__(
        self,
        max_samples: int = 4096,
        every_n_steps: int = 100,
        points_per_decade: int = 16,
        alarms: Sequence[Alarm] | None = None,
        on_alarm: Literal["warn", "stop"] = "warn",
        predicted_steps: Sequence[float] = (),
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("points_per_decade", points_per_decade)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if max_samples < 2:
            raise ValueError(f"max_samples must be at least 2, got {max_samples}")
        if on_alarm not in ("warn", "stop"):
            raise ValueError(f"on_alarm must be 'warn' or 'stop', got {on_alarm!r}")
        self.max_samples = max_samples
        self.every_n_steps = every_n_steps
        self.points_per_decade = points_per_decade
        self.alarms = tuple(_DEFAULT_ALARMS if alarms is None else alarms)
        self.on_alarm = on_alarm
        self.trajectory = Trajectory(predicted_steps)
        self._step = 0
        self._reference: Reading | None = None
        # How many measurements in a row each alarm has held; -1 once it has spoken.
        self._strikes = [0] * len(self.alarms)
        self._bad_losses: Tensor | None = None
        self._seconds = 0.0
        self._started = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find or create the shared feature buffer."""
        self._buffer = FeatureBuffer.shared(trainer, self, self.max_samples)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock that the monitor's own cost is a share of."""
        self._started, self._seconds = time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure, if this step is due."""
        bad = (~outputs["loss"].detach().isfinite()).to(torch.float64).sum()
        self._bad_losses = bad if self._bad_losses is None else self._bad_losses.to(bad.device) + bad
        step = trainer.global_step
        if step == self._step:
            return  # a micro-batch of an accumulated step
        self._step = step
        keep = is_log_spaced(step, self.points_per_decade)
        if keep or step % self.every_n_steps == 0:
            self._measure(trainer, pl_module, outputs, keep)

    def _measure(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, keep: bool) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)  # so that the time below is the monitor's own
        start = time.perf_counter()
        rows, eigenvalues, rank, std = self._spectra()
        share = self._content_share(outputs)
        bad = self._bad_losses
        reading = Reading(
            step=self._step,
            rankme=rank,
            content_share=share,
            feature_std=std,
            loss_is_finite=bad is None or float(all_reduce_sum(bad)) == 0,
            comparable=rows >= min(4 * len(eigenvalues), self.max_samples),
            assignment_information=_assignment_information(outputs),
            **_projection_spread(outputs),
        )
        self._bad_losses = None
        if keep:
            self.trajectory.append(self._step, eigenvalues, rank, share, reading.comparable)
        values = {
            "monitor/rankme": rank,
            "monitor/eig_max": float(eigenvalues[0]),
            "monitor/participation_ratio": float(participation_ratio(eigenvalues)),
            "monitor/feature_std": std,
        }
        if not math.isnan(share):
            values["monitor/content_share"] = share
        for name in (
            "projection_std",
            "projection_scale",
            "projection_rankme",
            "assignment_information",
        ):
            if not math.isnan(getattr(reading, name)):
                values[f"monitor/{name}"] = getattr(reading, name)
        self._seconds += time.perf_counter() - start
        values["monitor/time_share"] = self._seconds / max(time.perf_counter() - self._started, 1e-9)
        record(trainer, module, values)
        self._raise_alarms(trainer, reading)

    @torch.no_grad()
    def _spectra(self) -> tuple[int, Tensor, float, float]:
        """Rows of all ranks, covariance eigenvalues (D,) on the CPU, RankMe, relative feature std."""
        mine = -(-self.max_samples // world_size())
        z = _finite_rows(self._buffer.rows()[-mine:])
        unit = torch.nn.functional.normalize(z, dim=1)
        rows, mean, unit_mean = _means(z, unit)
        width = z.shape[1]
        if rows < 2:
            return rows, torch.zeros(width, dtype=z.dtype), 0.0, 0.0
        # Products of rows far from the origin would lose the little in which they differ.
        z, unit = z - mean, unit - unit_mean
        scatter, unit_square = _sum_over_ranks(z.T @ z, unit.square().sum(0))
        # The decomposition is small, serial work: the CPU does it as fast as a GPU, and the same everywhere.
        scatter, mean = scatter.cpu(), mean.cpu()
        eigenvalues = spectrum(scatter / (rows - 1))
        second = scatter + rows * torch.outer(mean, mean)
        rank = rankme_from_singular_values(spectrum(second)[:rows].sqrt())
        return rows, eigenvalues, float(rank), _mean_std(rows, unit_square) * math.sqrt(width)

    @torch.no_grad()
    def _content_share(self, outputs: Any) -> float:
        """Content share of this step's targets over all ranks, NaN if the method has none."""
        targets, index = outputs.get("targets"), outputs.get("target_index")
        if targets is None or index is None:
            return math.nan
        if targets.device.type == "mps":
            targets, index = targets.cpu(), index.cpu()
        positions = -int(all_reduce_min(-index.max())) + 1
        moments = ContentMoments.of(targets, index, positions)
        names = list(moments.__dataclass_fields__)
        summed = _sum_over_ranks(*(getattr(moments, name) for name in names))
        return float(ContentMoments(**dict(zip(names, summed, strict=True))).share())

    def _raise_alarms(self, trainer: pl.Trainer, reading: Reading) -> None:
        # Every number in the reading is the same on all ranks, and so is each decision here.
        if self._reference is None and reading.comparable:
            self._reference = reading
        for number, alarm in enumerate(self.alarms):
            if self._strikes[number] < 0:
                continue
            complaint = alarm.check(reading, self._reference)
            self._strikes[number] = self._strikes[number] + 1 if complaint else 0
            if complaint and self._strikes[number] >= alarm.patience:
                self._strikes[number] = -1
                rank_zero_warn(f"step {reading.step}: {complaint}")
                if self.on_alarm == "stop":
                    trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write ``monitor.npz``."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write ``monitor.npz``."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        path = run_folder(trainer) / "monitor.npz"
        if trainer.is_global_zero and len(self.trajectory):
            try:
                self.trajectory.save(path)
            except OSError as error:
                warnings.warn(f"could not write {path}: {error}; training goes on without it", stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """Trajectory, reference and what the alarms have said."""
        return {
            "step": self._step,
            "trajectory": self.trajectory.state_dict(),
            "reference": asdict(self._reference) if self._reference else None,
            "strikes": list(self._strikes),
            "bad_losses": None if self._bad_losses is None else float(all_reduce_sum(self._bad_losses)),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; alarms start anew if the run's rules have been changed."""
        self._step = state_dict["step"]
        self.trajectory.load_state_dict(state_dict["trajectory"])
        reference = state_dict["reference"]
        self._reference = Reading(**reference) if reference else None
        if len(state_dict["strikes"]) == len(self.alarms):
            self._strikes = list(state_dict["strikes"])
        bad = state_dict["bad_losses"]
        self._bad_losses = None if bad is None else torch.tensor(bad, dtype=torch.float64)


def _means(*matrices: Tensor) -> tuple[Any, ...]:
    """The number of rows of all ranks, and the mean row (D,) of each matrix; NaN if there are none."""
    count = torch.full((), float(len(matrices[0])), dtype=torch.float64, device=matrices[0].device)
    count, *totals = _sum_over_ranks(count, *(matrix.sum(0) for matrix in matrices))
    return int(count), *(total / count for total in totals)


def _mean_std(rows: int, square: Tensor) -> float:
    """Mean standard deviation of columns from the sums of their squared deviations (D,)."""
    return float((square / (rows - 1)).sqrt().mean())


def _finite_rows(z: Tensor) -> Tensor:
    """The rows (N, D) of this rank that are finite, in float64."""
    z = z.cpu() if z.device.type == "mps" else z  # no float64 there
    z = z.to(torch.float64)
    return z[z.isfinite().all(dim=1)]


@torch.no_grad()
def _projection_spread(outputs: Any) -> dict[str, float]:
    """Of this step's projections over all ranks: deviation of directions, as they are, and RankMe."""
    if outputs.get("projection") is None:
        return {}
    z = _finite_rows(outputs["projection"])
    unit = torch.nn.functional.normalize(z, dim=1)
    rows, mean, unit_mean = _means(z, unit)
    if rows < 2:
        return {"projection_std": 0.0, "projection_scale": 0.0, "projection_rankme": 0.0}
    squares = _sum_over_ranks((z - mean).square().sum(0), (unit - unit_mean).square().sum(0))
    scale, direction = (_mean_std(rows, square) for square in squares)
    some = gather_rows(z[: -(-_RANKED_ROWS // world_size())])
    return {
        "projection_std": direction * math.sqrt(z.shape[1]),
        "projection_scale": scale,
        "projection_rankme": float(rankme(some.cpu())),
    }


@torch.no_grad()
def _assignment_information(outputs: Any) -> float:
    """Mutual information of sample and prototype over all ranks, 1 if as much as can be; NaN without any."""
    if outputs.get("prototype_logits") is None:
        return math.nan
    logits = _finite_rows(outputs["prototype_logits"])
    p = logits.softmax(dim=1)
    rows, marginal, conditional = _means(p, _entropy(p).unsqueeze(1))
    if rows < 2 or p.shape[1] < 2:
        return 0.0
    return float(_entropy(marginal) - conditional) / math.log(min(rows, p.shape[1]))


def _entropy(p: Tensor) -> Tensor:
    """Entropy in nats of distributions (..., K)."""
    return -torch.xlogy(p, p).sum(dim=-1)


def _sum_over_ranks(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor summed over ranks, all in one collective."""
    flat = all_reduce_sum(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = torch.split_with_sizes(flat, [tensor.numel() for tensor in tensors])
    return tuple(part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True))

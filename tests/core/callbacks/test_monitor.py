# SPDX-License-Identifier: Apache-2.0
"""The monitor: right values, its file, its state, and alarms that speak when a model dies and only then."""

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from conjoin.core.callbacks import (
    FeatureBuffer,
    FeatureStdCollapse,
    LowContentShare,
    NonFiniteLoss,
    RankMeDrop,
    Reading,
    RepresentationMonitor,
)
from conjoin.core.callbacks.trajectory import Trajectory
from conjoin.core.metrics import content_share, embedding_eigenvalues, participation_ratio, rankme

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer

SMALL = {"max_samples": 32, "every_n_steps": 4}


class Log(pl.loggers.Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    name = version = "log"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step, metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


class Spy(pl.Callback):
    """Keeps the step's outputs."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.outputs.append({name: value.clone() for name, value in outputs.items()})


def test_logs_the_right_values_at_the_right_steps(tmp_path: Path) -> None:
    log, spy = Log(), Spy()
    monitor = RepresentationMonitor(**SMALL, points_per_decade=1, alarms=[])
    trainer(tmp_path, [spy, monitor], steps=13, logger=log, log_every_n_steps=1000).fit(Tiny(), Data())
    rows = {step: values for step, values in log.rows if "monitor/rankme" in values}
    # Lightning numbers the first batch 0; log-spaced steps are 1 and 10, the others every fourth.
    assert sorted(rows) == [0, 3, 7, 9, 11]
    z = torch.cat([out["embedding"] for out in spy.outputs[:12]])[-32:]
    eigenvalues = embedding_eigenvalues(z)
    values = rows[11]
    assert values["monitor/rankme"] == pytest.approx(float(rankme(z)))
    assert values["monitor/eig_max"] == pytest.approx(float(eigenvalues[0]))
    assert values["monitor/participation_ratio"] == pytest.approx(float(participation_ratio(eigenvalues)))
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    assert values["monitor/feature_std"] == pytest.approx(float(unit.std(0).mean()) * 8**0.5)
    last = spy.outputs[11]
    share = float(content_share(last["targets"], last["target_index"]))
    assert values["monitor/content_share"] == pytest.approx(share)
    assert 0 < values["monitor/time_share"] < 1
    assert not [name for name in values if "projection" in name or "assignment" in name]


def test_logs_projections_and_assignments_if_there_are_any(tmp_path: Path) -> None:
    class Both(Tiny):
        def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
            out = super().training_step(batch, batch_idx)
            return {**out, "projection": out["embedding"][:, :3], "prototype_logits": out["embedding"]}

    log, spy = Log(), Spy()
    trainer(tmp_path, [spy, RepresentationMonitor(**SMALL)], steps=4, logger=log).fit(Both(), Data())
    values = next(row for step, row in log.rows if step == 3 and "monitor/rankme" in row)
    last = spy.outputs[3]
    assert values["monitor/projection_rankme"] == pytest.approx(float(rankme(last["projection"])))
    assert values["monitor/projection_scale"] == pytest.approx(float(last["projection"].std(0).mean()))
    p = last["prototype_logits"].double().softmax(1)
    information = float((p * (p / p.mean(0)).log()).sum(1).mean()) / np.log(8)
    assert values["monitor/assignment_information"] == pytest.approx(information)


@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_rows_far_from_the_origin_keep_their_spectrum(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(512, 3, generator=generator) @ torch.randn(3, 16, generator=generator)
    z = 1e4 + scale * few  # float32, as in the buffer: what is left of the differences is what counts
    monitor = RepresentationMonitor(max_samples=512)
    monitor._buffer = FeatureBuffer(512)
    monitor._buffer.push(z, torch.zeros(512), torch.zeros(512))
    rows, eigenvalues, rank, std = monitor._spectra()
    assert rows == 512
    torch.testing.assert_close(eigenvalues, embedding_eigenvalues(z), rtol=1e-9, atol=1e-15)
    exact = torch.linalg.svdvals(z.double() - z.double().mean(0))[:16].square() / 511
    torch.testing.assert_close(eigenvalues, exact, rtol=1e-6, atol=1e-12)
    assert float(participation_ratio(eigenvalues)) == pytest.approx(float(participation_ratio(exact)))
    assert rank == pytest.approx(float(rankme(z)), rel=1e-6)
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    assert std == pytest.approx(float(unit.std(0).mean()) * 4, rel=1e-6)


def test_nearly_constant_rows_keep_their_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    z = 1e4 + 1e-3 * torch.randn(512, 16, generator=generator)
    monitor = RepresentationMonitor(max_samples=512)
    monitor._buffer = FeatureBuffer(512)
    monitor._buffer.push(z, torch.zeros(512), torch.zeros(512))
    eigenvalues = monitor._spectra()[1]
    assert 14 < float(participation_ratio(eigenvalues)) < 16


def test_writes_its_file(tmp_path: Path) -> None:
    monitor = RepresentationMonitor(**SMALL)
    trainer(tmp_path, [monitor], steps=20).fit(Tiny(), Data())
    with np.load(tmp_path / "monitor.npz") as file:
        assert set(file) == {"steps", "eigenvalues", "rankme", "content_share", "detected", "predicted"}
        steps = file["steps"]
        assert steps.tolist() == sorted({round(10 ** (k / 16)) for k in range(21)})
        assert file["eigenvalues"].shape == (len(steps), 8)
        assert (np.diff(file["eigenvalues"], axis=1) <= 0).all()
        assert file["rankme"].shape == file["content_share"].shape == (len(steps),)
        assert file["detected"].shape[1] == 2


def test_writes_when_validation_ends_too(tmp_path: Path) -> None:
    class Look(pl.Callback):
        lengths: list[int] = []  # noqa: RUF012  # one trainer, one test

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            self.lengths.append(len(np.load(tmp_path / "monitor.npz")["steps"]))

    trainer(tmp_path, [RepresentationMonitor(**SMALL), Look()], steps=13).fit(Tiny(), Data())
    assert Look.lengths == [6, 10]  # after six steps and after twelve


def test_detection_skips_measurements_with_too_few_rows(tmp_path: Path) -> None:
    def filled(comparable: bool) -> Trajectory:
        trajectory = Trajectory()
        for step, second in ((1, 1e-6), (10, 1e-6), (11, 0.5), (12, 1.0), (100, 1.0)):
            trajectory.append(step, torch.tensor([2.0, second]), 1.0, float("nan"), comparable or step > 11)
        return trajectory

    assert [index for _, index in filled(True).detected()] == [1]
    assert filled(False).detected() == []
    filled(True).save(tmp_path / "monitor.npz")
    detected = np.load(tmp_path / "monitor.npz")["detected"]
    assert detected.shape == (1, 2)
    assert 10 < detected[0, 0] < 12


def test_an_unwritable_folder_costs_the_file_only(tmp_path: Path) -> None:
    (tmp_path / "monitor.npz").mkdir()
    with pytest.warns(UserWarning, match=r"could not write .*monitor\.npz"):
        trainer(tmp_path, [RepresentationMonitor(**SMALL)], steps=3).fit(Tiny(), Data())


def alarms(
    monitor: RepresentationMonitor, mode: str, folder: Path, steps: int = 40, **options: Any
) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = trainer(folder, [monitor], steps=steps, limit_val_batches=0, **options)
        fit.fit(Tiny(mode), Data())
    texts = [str(warning.message) for warning in caught]
    return [text for text in texts if text.startswith("step ")]


def test_a_healthy_model_raises_no_alarm(tmp_path: Path) -> None:
    assert alarms(RepresentationMonitor(**SMALL), "healthy", tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "rule", "words"),
    [
        ("rank", RankMeDrop(fraction=0.7), "RankMe is"),
        ("constant", FeatureStdCollapse(threshold=0.02), "representation has collapsed"),
        ("position", LowContentShare(), "functions of position"),
        ("nan", NonFiniteLoss(), "NaN or infinite"),
    ],
)
def test_a_dying_model_raises_its_alarm_once(mode: str, rule: Any, words: str, tmp_path: Path) -> None:
    said = alarms(RepresentationMonitor(**SMALL, alarms=[rule]), mode, tmp_path, steps=150)
    assert len(said) == 1
    assert words in said[0]


def test_an_alarm_can_stop_training(tmp_path: Path) -> None:
    monitor = RepresentationMonitor(**SMALL, on_alarm="stop")
    fit = trainer(tmp_path, [monitor], steps=100)
    with pytest.warns(UserWarning, match="functions of position"):
        fit.fit(Tiny("position"), Data())
    # The third measurement (steps 1, 2, 3) exhausts the patience.
    assert fit.global_step == 3


def reading(**change: Any) -> Reading:
    return Reading(**{
        "step": 5, "rankme": 10.0, "content_share": 0.5, "feature_std": 1.0, "loss_is_finite": True,
        "comparable": True, **change,
    })  # fmt: skip


def test_rules_at_their_borders() -> None:
    first = reading(step=1, rankme=40.0)
    assert RankMeDrop().check(reading(rankme=10.0), first) is None
    assert RankMeDrop().check(reading(rankme=9.9), first) is not None
    assert RankMeDrop().check(reading(rankme=9.9, comparable=False), first) is None
    assert RankMeDrop().check(reading(rankme=9.9), None) is None
    assert LowContentShare().check(reading(content_share=0.02), None) is None
    assert LowContentShare().check(reading(content_share=0.019), None) is not None
    assert LowContentShare().check(reading(content_share=float("nan")), None) is None
    assert FeatureStdCollapse().check(reading(feature_std=1e-3), None) is None
    assert FeatureStdCollapse().check(reading(feature_std=9e-4), None) is not None


def test_patience_needs_measurements_in_a_row(tmp_path: Path) -> None:
    monitor = RepresentationMonitor(alarms=[LowContentShare(patience=2)])
    fit = trainer(tmp_path, [monitor])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for share in (0.0, 0.5, 0.0):
            monitor._raise_alarms(fit, reading(content_share=share))
    with pytest.warns(UserWarning, match="functions of position"):
        monitor._raise_alarms(fit, reading(content_share=0.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_samples": 1}, "max_samples must be at least 2"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1"),
        ({"points_per_decade": 0}, "points_per_decade must be at least 1"),
        ({"on_alarm": "shout"}, "on_alarm must be 'warn' or 'stop'"),
    ],
)
def test_guards(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RepresentationMonitor(**options)
    with pytest.raises(ValueError, match="patience must be at least 1"):
        RankMeDrop(patience=0)


def two_ranks(rank: int, world: int) -> tuple[Any, ...]:
    monitor = RepresentationMonitor(max_samples=40)
    z, targets, index = everything()
    monitor._buffer = FeatureBuffer(40)
    mine = slice(0, 40) if rank == 0 else slice(40, 80)
    unknown = torch.full((40,), -1)
    monitor._buffer.push(z[mine], unknown, unknown)
    part = slice(0, 30) if rank == 0 else slice(30, 80)
    count, eigenvalues, rank_me, std = monitor._spectra()
    return (
        count,
        eigenvalues,
        rank_me,
        std,
        monitor._content_share({"targets": targets[part], "target_index": index[part]}),
    )


def everything() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(80, 5, generator=generator) * torch.linspace(0.1, 2, 5) + 1
    index = torch.rand(80, 2, 9, generator=generator).argsort(-1)[..., :4]
    return z, torch.randn(80, 2, 4, 3, generator=generator), index


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_measure_what_one_would(ddp: Any) -> None:
    z, targets, index = everything()
    kept = torch.cat((z[20:40], z[60:]))  # the last twenty of each rank
    unit = torch.nn.functional.normalize(kept.double(), dim=1)
    for count, eigenvalues, rank_me, std, share in ddp(two_ranks):
        assert count == 40
        torch.testing.assert_close(eigenvalues, embedding_eigenvalues(kept))
        assert rank_me == pytest.approx(float(rankme(kept)))
        assert std == pytest.approx(float(unit.std(0).mean()) * 5**0.5)
        assert share == pytest.approx(float(content_share(targets, index)))

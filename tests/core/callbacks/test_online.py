# SPDX-License-Identifier: Apache-2.0
"""Probe, neighbours and throughput: they learn, they resume exactly, and training never hears of them."""

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.nn.functional import cross_entropy

from conjoin.core import random
from conjoin.core.callbacks import (
    FeatureBuffer,
    OnlineKNN,
    OnlineProbe,
    RepresentationMonitor,
    Throughput,
    throughput,
)
from conjoin.core.callbacks.linear_head import LinearHead
from conjoin.core.callbacks.online_probe import Score

sys.path.insert(0, str(Path(__file__).parent))
from monitored import Data, Tiny, trainer


def watchers() -> list[pl.Callback]:
    return [
        RepresentationMonitor(max_samples=32, every_n_steps=3),
        OnlineProbe(lr=0.05),
        OnlineKNN(k=5, size=32),
        Throughput(every_n_steps=4),
    ]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_and_generators_do_not_depend_on_the_watchers(tmp_path: Path, accumulate: int) -> None:
    found = []
    for callbacks in ([], watchers()):
        torch.manual_seed(11)
        model = Tiny()
        trainer(tmp_path, callbacks, steps=10, accumulate_grad_batches=accumulate).fit(model, Data())
        found.append((model.encoder.weight.clone(), torch.random.get_rng_state()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_probe_and_neighbours_tell_the_classes_apart(tmp_path: Path) -> None:
    fit = trainer(tmp_path, watchers(), steps=30)
    fit.fit(Tiny(), Data())
    assert fit.callback_metrics["probe/linear_acc"] > 0.9
    assert fit.callback_metrics["probe/knn_acc"] > 0.9


def test_neighbours_in_the_training_split(tmp_path: Path) -> None:
    fit = trainer(tmp_path, [OnlineKNN(k=3, bank="train", temperature=None)], steps=6)
    fit.fit(Tiny(), Data())
    assert fit.callback_metrics["probe/knn_acc"] > 0.9


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resume_is_bit_exact(tmp_path: Path, accumulate: int) -> None:
    def run(steps: int, checkpoint: Path | None) -> pl.Trainer:
        fit = trainer(tmp_path, watchers()[:3], steps=steps, accumulate_grad_batches=accumulate)
        fit.fit(Tiny(), Data(), ckpt_path=checkpoint)
        return fit

    # 48 samples in batches of 8: twelve steps end an epoch with and without accumulation.
    run(12, None).save_checkpoint(tmp_path / "half.ckpt")
    states = []
    for checkpoint in (None, tmp_path / "half.ckpt"):
        fit = run(21, checkpoint)
        states.append({type(c).__name__: c.state_dict() for c in fit.callbacks})
        states[-1]["metrics"] = {n: v for n, v in fit.callback_metrics.items() if n.startswith("probe")}
    assert states[0]["RepresentationMonitor"]["trajectory"]["steps"]
    assert equal(states[0], states[1])


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def test_state_is_plain_enough_for_a_safe_load(tmp_path: Path) -> None:
    fit = trainer(tmp_path, watchers(), steps=6)
    fit.fit(Tiny(), Data())
    fit.save_checkpoint(tmp_path / "a.ckpt")
    loaded = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert {"FeatureBuffer", "OnlineProbe"} <= set(loaded["callbacks"])


def test_a_restored_probe_validates_without_training(tmp_path: Path) -> None:
    fit = trainer(tmp_path, [OnlineProbe(lr=0.05)], steps=30)
    fit.fit(Tiny(), Data())
    fit.save_checkpoint(tmp_path / "a.ckpt")
    again = trainer(tmp_path, [OnlineProbe()])
    again.validate(Tiny(), Data(), ckpt_path=tmp_path / "a.ckpt", verbose=False)
    assert again.callback_metrics["probe/linear_acc"] == fit.callback_metrics["probe/linear_acc"]


def test_unlabelled_data_leave_the_probes_idle(tmp_path: Path) -> None:
    data = Data(labelled=False)
    data.num_classes = None
    fit = trainer(tmp_path, [OnlineProbe(), OnlineKNN()], steps=6)
    with pytest.warns(UserWarning, match="OnlineProbe stays idle"):
        fit.fit(Tiny(), data)
    assert not [name for name in fit.callback_metrics if name.startswith("probe")]


def test_head_takes_the_step_of_autograd_and_adamw() -> None:
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
    label = torch.tensor([0, 1, 2, -1] * 3)
    head = LinearHead(5, 3, key=random.key(0, "test"), lr=0.1, weight_decay=0.01)
    weight = head.weight.clone().requires_grad_()
    bias = head.bias.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=0.1, weight_decay=0.01)
    known = label >= 0
    for _ in range(3):
        # The stream repeats one batch, so its running averages are that batch's own.
        x = (z - z.mean(0)) / z.std(0, correction=0)
        optimizer.zero_grad()
        cross_entropy(x[known] @ weight.T + bias, label[known]).backward()
        optimizer.step()
        head.learn(z, label)
    torch.testing.assert_close(head.weight, weight.detach(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(head.bias, bias.detach(), rtol=1e-3, atol=1e-4)


def stream(rank: int, world: int) -> torch.Tensor:
    """A head fed half of each batch per rank, with unequal numbers of labels."""
    head = LinearHead(5, 3, key=random.key(0, "test"), lr=0.1)
    for step in range(4):
        z = torch.randn(10, 5, generator=torch.Generator().manual_seed(step))
        label = torch.tensor([-1, -1, -1, 0, 1, 2, 0, 1, 2, 1])
        mine = slice(5 * rank, 5 * rank + 5) if world == 2 else slice(None)
        head.learn(z[mine], label[mine])
    return head.weight


def score(rank: int, world: int) -> float | None:
    """Seven samples; the sampler repeats the first on the second rank, which has it wrong there too."""
    index = torch.tensor([0, 2, 4, 6] if rank == 0 else [1, 3, 5, 0])
    label = index % 3
    predicted = torch.where(index == 0, 1, label)
    tally = Score()
    tally.add({"label": label, "index": index}, predicted)
    return tally.compute(torch.device("cpu"))


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for weight in ddp(stream):
        torch.testing.assert_close(weight, stream(0, 1))
    assert ddp(score) == [pytest.approx(6 / 7)] * 2


def test_score_without_index_counts_every_sample() -> None:
    tally = Score()
    for _ in range(2):
        tally.add({"label": torch.tensor([0, 1, -1])}, torch.tensor([0, 0, 0]))
    assert tally.compute(torch.device("cpu")) == 0.5
    assert tally.compute(torch.device("cpu")) is None


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


def test_guards() -> None:
    for make, words in (
        (lambda: OnlineProbe(num_classes=1), "num_classes must be at least 2"),
        (lambda: OnlineKNN(k=0), "k must be at least 1"),
        (lambda: OnlineKNN(temperature=0), "temperature must be positive"),
        (lambda: OnlineKNN(bank="shelf"), "bank must be 'buffer' or 'train'"),  # type: ignore[arg-type]
        (lambda: Throughput(0), "every_n_steps must be at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    assert FeatureBuffer().size == 4096

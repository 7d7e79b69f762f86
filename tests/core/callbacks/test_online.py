# SPDX-License-Identifier: Apache-2.0
"""Probe, neighbours and throughput together: they learn, resume exactly, and training never hears of them."""

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from conjoin.core.callbacks import (
    OnlineKNN,
    OnlineProbe,
    RepresentationMonitor,
    Throughput,
)

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
    return bool(a == b) or (a != a and b != b)  # not a number: nothing to measure


def test_state_is_plain_enough_for_a_safe_load(tmp_path: Path) -> None:
    fit = trainer(tmp_path, watchers(), steps=6)
    fit.fit(Tiny(), Data())
    fit.save_checkpoint(tmp_path / "a.ckpt")
    loaded = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert {"FeatureBuffer", "OnlineProbe"} <= set(loaded["callbacks"])


def test_unlabelled_data_leave_the_probes_idle(tmp_path: Path) -> None:
    data = Data(labelled=False)
    data.num_classes = None
    fit = trainer(tmp_path, [OnlineProbe(), OnlineKNN()], steps=6)
    with pytest.warns(UserWarning, match="OnlineProbe stays idle"):
        fit.fit(Tiny(), data)
    assert not [name for name in fit.callback_metrics if name.startswith("probe")]

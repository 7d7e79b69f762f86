# SPDX-License-Identifier: Apache-2.0
"""The base of every system: frozen features, keys, schedules by optimiser step, outputs for callbacks."""

import math
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from conjoin.core import distributed, random
from conjoin.core.checkpoint_io import SaveLast
from conjoin.core.methods import JointEmbedding, StepOutput
from conjoin.core.methods.joint_embedding import emulates_bfloat16
from conjoin.core.optim import Optim

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import tiny


class Mean(JointEmbedding):
    """The smallest system: pull the features to zero."""

    def __init__(self, encoder=None, **options):
        super().__init__(encoder or tiny.TinyEncoder(), **options)

    def step(self, batch):
        tokens = self.encoder(batch["x"])
        loss = tokens.square().mean()
        return StepOutput(loss, {"square": loss.detach()}, embedding=tokens.detach().mean(1))


def batch(size=6):
    x = torch.sin(torch.arange(size * 256.0)).view(size, 1, 16, 16)
    return {"x": x, "index": torch.arange(size), "label": torch.arange(size) % 3}


class Groups(pl.Callback):
    """Learning rate and weight decay of every group at each optimiser step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step > len(self.seen):
            groups = trainer.optimizers[0].param_groups
            self.seen.append([(group["lr"], group["weight_decay"]) for group in groups])


def test_embed_is_the_mean_of_the_frozen_tokens():
    model = Mean(seed=0).train()
    tokens = model.tokens(batch())
    assert tokens.shape == (6, 16, 16)
    assert not tokens.requires_grad
    expected = torch.stack([tokens[:, n] for n in range(16)]).sum(0) / 16
    torch.testing.assert_close(model.embed(batch()), expected)
    assert model.encoder.training, "the mode is given back"
    assert model(batch()["x"]).requires_grad


def test_frozen_features_are_those_of_evaluation_mode():
    encoder = tiny.TinyEncoder()
    encoder.project = torch.nn.Sequential(encoder.project, torch.nn.Dropout(0.5))
    model = Mean(encoder, seed=0).train()
    assert torch.equal(model.embed(batch()), model.embed(batch()))
    assert not torch.equal(model(batch()["x"]), model(batch()["x"]))


def test_several_layers_stand_side_by_side():
    class Deep(tiny.TinyEncoder):
        def intermediate(self, x, layers):
            return [self(x) * factor for factor in range(layers, 0, -1)]

    model = Mean(Deep(), seed=0)
    once = model.tokens(batch())
    assert torch.equal(model.tokens(batch(), 3), torch.cat((3 * once, 2 * once, once), -1))
    assert model.embed(batch(), 2).shape == (6, 32)
    with pytest.raises(ValueError, match="TinyEncoder has no `intermediate`: only layers=1"):
        Mean(seed=0).tokens(batch(), 2)


def test_keys_are_those_of_seed_purpose_epoch_and_index():
    model = Mean(seed=5).eval()
    keys = model.sample_keys(batch(), "mask")
    assert keys.dtype == torch.int64
    order = torch.tensor([3, 0, 5])
    part = {"x": batch()["x"][order], "index": order}
    assert torch.equal(model.sample_keys(part, "mask"), keys[order])
    expected = random.fold(random.key(5, "mask", 0), torch.arange(6))
    assert torch.equal(keys, expected)
    for other in (Mean(seed=6).eval().sample_keys(batch(), "mask"), model.sample_keys(batch(), "noise")):
        assert not (other == keys).any()


def test_keys_do_not_depend_on_the_number_of_ranks(monkeypatch):
    """Two ranks hold the even and the odd samples of one process's batch."""
    model = Mean(seed=5).eval()
    whole = model.sample_keys(batch(), "mask")
    step_key = model.step_key("mask")
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        rows = torch.arange(rank, 6, 2)
        found = model.sample_keys({"x": batch()["x"][rows], "index": rows}, "mask")
        assert torch.equal(found, whole[rank::2])
        assert model.step_key("mask") == step_key


def test_keys_without_index_differ_between_samples_batches_and_ranks(monkeypatch):
    model = Mean(seed=5).eval()
    x = {"x": batch()["x"]}
    found = [model.sample_keys(x, "mask")]
    model._batch_idx = 1
    found.append(model.sample_keys(x, "mask"))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    found.append(model.sample_keys(x, "mask"))
    assert len({*torch.cat(found).tolist()}) == 18


@pytest.mark.parametrize("accumulate", [1, 2])
def test_schedules_are_written_into_the_groups_once_per_optimiser_step(tmp_path, accumulate):
    groups = Groups()
    optim = Optim(
        lr=1e-2, start_lr=1e-3, final_lr=0.0, warmup_steps=2, weight_decay=0.1, final_weight_decay=0.3
    )
    fit = tiny.trainer(tmp_path, callbacks=[groups], max_epochs=2, accumulate_grad_batches=accumulate)
    fit.fit(Mean(optim=optim, seed=0), tiny.TinyData(batch_size=16))
    total = 12 // accumulate
    assert len(groups.seen) == total
    for step, (decayed, plain) in enumerate(groups.seen, start=1):
        if step < 2:
            lr = 1e-3 + (1e-2 - 1e-3) * step / 2
        else:
            lr = 1e-2 * (1 + math.cos(math.pi * (step - 2) / (total - 2))) / 2
        weight_decay = 0.3 + (0.1 - 0.3) * (1 + math.cos(math.pi * step / total)) / 2
        assert decayed == pytest.approx((lr, weight_decay))
        assert plain == pytest.approx((lr, 0.0))


def test_horizon_counts_optimiser_steps(tmp_path):
    class Ask(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            self.found = pl_module.horizon()

    ask = Ask()
    fit = tiny.trainer(tmp_path, callbacks=[ask], max_epochs=3, accumulate_grad_batches=4)
    fit.fit(Mean(seed=0), tiny.TinyData(batch_size=16))
    assert ask.found == (6, 2)  # six batches an epoch, four to a step: the last two make one of their own


def test_a_run_without_end_is_refused(tmp_path):
    fit = tiny.trainer(tmp_path, max_epochs=-1)
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs or trainer\.max_steps"):
        fit.fit(Mean(seed=0), tiny.TinyData(batch_size=16))


def test_logged_names_and_outputs(tmp_path):
    class Outputs(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.found = {name: tuple(value.shape) for name, value in outputs.items()}

    outputs = Outputs()
    fit = tiny.trainer(tmp_path, callbacks=[outputs], max_epochs=1)
    model = Mean(seed=0)
    fit.fit(model, tiny.TinyData(batch_size=16))
    assert outputs.found == {"loss": (), "embedding": (16, 16)}
    names = {"train/loss", "train/square", "val/loss", "schedule/lr", "schedule/weight_decay"}
    assert names <= set(fit.callback_metrics)
    rows = fit.predict(model, tiny.TinyData(batch_size=16))
    assert set(rows[0]) == {"embedding", "index", "label"}
    assert fit.test(model, tiny.TinyData(batch_size=16), verbose=False)[0].keys() == {"test/loss"}


@pytest.mark.parametrize(
    ("features", "slow"),
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True}, False),
        ({"architecture": "x86_64", "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),  # not known there
    ],
)
def test_a_processor_without_bfloat16_is_told_apart(monkeypatch, features, slow):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert emulates_bfloat16() is slow


def test_half_precision_that_will_not_pay_is_said(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr("conjoin.core.methods.joint_embedding.emulates_bfloat16", lambda: True)
    tiny.trainer(tmp_path, max_steps=1).fit(Mean(seed=0), tiny.TinyData(batch_size=16))
    assert not any("bfloat16" in str(warning.message) for warning in recwarn)
    fit = tiny.trainer(tmp_path, max_steps=1, precision="bf16-mixed")
    with pytest.warns(UserWarning, match="no bfloat16 arithmetic"):
        fit.fit(Mean(seed=0), tiny.TinyData(batch_size=16))


def test_only_trainable_modules_are_optimised():
    model = Mean(seed=0)
    model.frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    assert model.trainable() == [model.encoder]


def test_the_runs_seed_is_the_default(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "41")
    assert Mean().seed == random.default_seed() == 41
    assert Mean(seed=3).seed == 3


def test_a_loader_made_too_early_on_resume_is_refused(tmp_path):
    """Asking for the run's length in ``setup`` makes the loader before its position is restored."""

    class Early(Mean):
        def setup(self, stage):
            _ = self.trainer.estimated_stepping_batches

    def fit(model, steps, checkpoint=None):
        options = {"callbacks": [SaveLast(every_n_steps=3)], "enable_checkpointing": True}
        made = tiny.trainer(tmp_path, max_epochs=2, max_steps=steps, **options)
        made.fit(model, tiny.TinyData(batch_size=16), ckpt_path=checkpoint)

    fit(Mean(seed=0), 3)
    half = tmp_path / "half.ckpt"
    (tmp_path / "checkpoints" / "last.ckpt").rename(half)
    fit(Mean(seed=0), 5, half)
    with pytest.raises(RuntimeError, match="would repeat samples"):
        fit(Early(seed=0), 5, half)


class Deep(tiny.TinyEncoder):
    passes = 0

    def intermediate(self, x, layers):
        self.passes += 1
        return [self(x) * (layers - depth) for depth in range(layers)]


def test_features_of_several_depths_in_one_pass():
    model, data = Mean(Deep()), {"x": torch.randn(3, 1, 16, 16)}
    one, two = model.embed_each(data, (1, 2))
    assert model.encoder.passes == 1
    exact = {"rtol": 0, "atol": 1e-6}  # sums over slices may be taken in another order
    torch.testing.assert_close(one, model.embed(data), **exact)
    torch.testing.assert_close(two, torch.cat((2 * one, one), dim=1), **exact)
    torch.testing.assert_close(two, model.embed(data, 2), **exact)

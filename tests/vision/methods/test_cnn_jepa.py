# SPDX-License-Identifier: Apache-2.0
"""CNN-JEPA: who sees what, who learns what, how the teacher moves; on one process and on two."""

import contextlib
import math
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from conjoin.core.callbacks import RepresentationMonitor
from conjoin.core.checkpoint import build, describe
from conjoin.core.checkpoint_io import SaveLast
from conjoin.core.data import DataModule
from conjoin.core.metrics.content import ContentMoments
from conjoin.core.optim import Optim
from conjoin.vision import CNNJEPA, MixedMask

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import tiny

OPTIONS = {"layers": (1, 1, 1, 1), "channels": (8, 8, 12, 16), "output_stride": 8, "zero_init_last": False}
BLOCKS = MixedMask(block_share=1.0, target_scale=(0.1, 0.2), min_keep=3)


def small(**options):
    arguments = {
        "encoder_options": OPTIONS,
        "masks": BLOCKS,
        "seed": 0,
        "optim": Optim(lr=1e-2, start_lr=0.0),
    }
    return CNNJEPA("resnet18", 48, 1, **(arguments | options))


def batch(size=4):
    x = torch.sin(torch.arange(size * 48 * 48.0) ** 1.1).view(size, 1, 48, 48)
    return {"x": x, "index": torch.arange(size)}


class Waves(DataModule):
    """48 pictures of waves in two directions."""

    num_classes = 2

    def build(self, split):
        ramp = torch.linspace(0, 12, 48)
        generator = torch.Generator().manual_seed({"train": 0, "val": 1, "test": 2}[split])
        found = []
        for n in range(48):
            wave = torch.sin(ramp * (1 + n % 5) + n).expand(48, 48)
            x = wave if n % 2 else wave.T
            found.append({"x": x[None] + 0.1 * torch.randn(1, 48, 48, generator=generator), "label": n % 2})
        return found


def test_sizes_of_the_paper():
    with torch.device("meta"):
        model = CNNJEPA()
    assert model.grid == (7, 7)
    assert sum(p.numel() for p in model.encoder.parameters()) == 23_508_032
    assert sum(p.numel() for p in model.predictor.layers.parameters()) == 12_662_784
    assert model.masks == MixedMask()
    assert model.ema == (0.996, 1.0)
    assert (model.optim.lr, model.optim.weight_decay, model.optim.final_weight_decay) == (0.01, 0.01, None)
    assert model.optim.final_lr == pytest.approx(0.001 * model.optim.lr)


def test_gradients_reach_encoder_predictor_and_token_but_not_the_teacher():
    model = small()
    model.step(batch()).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.predictor.parameters())
    assert model.predictor.mask_token.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())


def test_the_loss_by_hand():
    """Mean of 1 - cos over the target cells, from maps instead of token lists."""
    model, data = small().eval(), batch()
    masks = model.partition(data)
    context, targets = masks.as_grid((6, 6))
    hidden = targets[:, 0]
    assert torch.equal(hidden, ~context)
    with torch.no_grad():
        pixels = context.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
        h = model.teacher.model.forward_features(data["x"])
        tokens = model.encoder(data["x"] * pixels, masks.context, ~masks.context_valid)
        canvas = torch.empty(4, 16, 6, 6)
        for b in range(4):
            rank = 0
            for cell in range(36):
                i, j = divmod(cell, 6)
                seen = bool(context[b, i, j])
                canvas[b, :, i, j] = tokens[b, rank] if seen else model.predictor.mask_token.flatten()
                rank += seen
        p = model.predictor.layers(canvas)
        cosine = torch.cosine_similarity(p, h, dim=1)
        torch.testing.assert_close(model.step(data).loss, 1 - cosine[hidden].mean())


def test_the_context_does_not_see_hidden_pixels():
    model, data = small(), batch()
    masks = model.partition(data)
    hidden = masks.as_grid((6, 6))[1][:, 0].repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    changed = data | {"x": data["x"] + 10 * hidden}
    assert torch.equal(model.encode_context(changed, masks), model.encode_context(data, masks))
    assert not torch.equal(model.encode_targets(changed), model.encode_targets(data))


def test_a_prediction_depends_on_the_context():
    model, data = small().eval(), batch()
    masks = model.partition(data)
    context = model.encode_context(data, masks).detach().requires_grad_()
    prediction = model.predict(context, masks)
    prediction[masks.targets_valid].sum().backward()
    assert (context.grad.abs().sum((1, 2)) > 0).all()


def test_the_teacher_has_running_statistics_of_its_own():
    model, data = small(), batch()
    assert model.train().teacher.training
    before = model.teacher.model.bn1.running_mean.clone()
    model.step(data)
    expected = 0.9 * before + 0.1 * model.teacher.model.conv1(data["x"]).mean((0, 2, 3))
    torch.testing.assert_close(model.teacher.model.bn1.running_mean, expected)
    assert not torch.allclose(model.encoder.model.bn1.running_mean, expected)
    assert not model.eval().teacher.training
    frozen = model.teacher.model.bn1.running_mean.clone()
    model.step(data)
    model.train().embed(data)
    assert torch.equal(model.teacher.model.bn1.running_mean, frozen)
    assert model.teacher.training


def test_outputs_for_callbacks_leave_padding_out():
    model, data = small(), batch(8)
    masks = model.partition(data)
    assert not masks.targets_valid.all()
    out = model.step(data)
    assert torch.equal(out.extras["target_index"] >= 0, masks.targets_valid)
    moments = ContentMoments.of(out.extras["targets"], out.extras["target_index"], 36)
    assert torch.equal(moments.count, masks.as_grid((6, 6))[1].flatten(1).sum(0).double())
    assert out.embedding.shape == (8, 16)


class Follow(pl.Callback):
    """The teacher's weights and buffers by hand."""

    def on_train_start(self, trainer, pl_module):
        self.weights = [p.clone() for p in pl_module.teacher.parameters()]
        self.momenta, self.step = [], 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        # Before the forward of step k + 1, by the cosine of that step's epoch: 3 epochs of 4 steps.
        self.step += 1
        epoch = min(self.step // 4, 2)
        momentum = 1 - (1 - 0.9) * (math.cos(math.pi * epoch / 2) + 1) / 2
        self.momenta.append(momentum)
        student = pl_module.encoder.parameters()
        pairs = zip(self.weights, student, strict=True)
        self.weights = [momentum * t + (1 - momentum) * s.detach() for t, s in pairs]


def test_fit_moves_the_teacher_by_its_average_alone(tmp_path):
    follow, model = Follow(), small(ema=(0.9, 1.0))
    tiny.trainer(tmp_path, callbacks=[follow], max_epochs=3).fit(model, Waves(batch_size=12))
    for found, expected in zip(model.teacher.parameters(), follow.weights, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert follow.momenta[:3] == [0.9] * 3
    assert follow.momenta[3] == pytest.approx(0.95)
    assert follow.momenta[-5:] == [1.0] * 5
    assert not torch.allclose(model.teacher.model.bn1.running_mean, model.encoder.model.bn1.running_mean)


def test_everything_is_decayed(tmp_path):
    class Groups(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.groups = trainer.optimizers[0].param_groups

    groups, model = Groups(), small(optim=Optim(lr=0.1, weight_decay=0.02, final_weight_decay=None))
    tiny.trainer(tmp_path, callbacks=[groups], max_steps=1).fit(model, Waves(batch_size=12))
    (group,) = groups.groups
    trained = [*model.encoder.parameters(), *model.predictor.parameters()]
    assert {id(p) for p in group["params"]} == {id(p) for p in trained}
    assert group["weight_decay"] == 0.02


def test_learning_rate_of_the_paper():
    """(k + 1) / W in the warm-up; from there a cosine to a thousandth, a step ahead of the release."""
    lr, _ = Optim(lr=0.01, start_lr=0.0, final_lr=1e-5, warmup_epochs=2).schedules(100, 10)
    assert [lr(k) for k in (0, 9, 19)] == pytest.approx([0.01 / 20, 0.01 * 10 / 20, 0.01])
    released = [
        1e-5 + (0.01 - 1e-5) * (1 + math.cos(math.pi * (k - 20) / (80 - 1))) / 2 for k in range(20, 100)
    ]
    assert [lr(k) for k in range(20, 100)] == pytest.approx(released, abs=0.01 * math.pi / 2 / 79)
    assert lr(99) == pytest.approx(1e-5)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_resume_is_bit_for_bit(tmp_path, precision):
    def fit(folder, steps, checkpoint=None):
        options = {"callbacks": [SaveLast(every_n_steps=1)], "enable_checkpointing": True, "max_epochs": 2}
        model = small(seed=1)
        trainer = tiny.trainer(folder, precision=precision, **options)
        trainer.callbacks.append(Break(steps))
        with contextlib.suppress(Broken):
            trainer.fit(model, Waves(batch_size=12), ckpt_path=checkpoint)
        assert trainer.global_step == steps
        return model.state_dict()

    whole = fit(tmp_path / "whole", 8)
    fit(tmp_path / "half", 3)
    resumed = fit(tmp_path / "half", 8, tmp_path / "half" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert all(value.isfinite().all() for value in whole.values())


class Broken(Exception):
    pass


class Break(pl.Callback):
    """Ends a run at the start of a step, without its last rites."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Broken


def test_half_precision_is_near():
    model, data = small(), batch()
    full = model.step(data).loss
    model = small()
    with torch.autocast("cpu", torch.bfloat16):
        half = model.step(data)
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, full, rtol=0.05, atol=0.02)


def test_convnext(tmp_path):
    model = CNNJEPA("test_convnext", 192, 1, masks=MixedMask(min_keep=3), seed=0)
    data = {"x": torch.randn(2, 1, 192, 192), "index": torch.arange(2)}
    model.step(data).loss.backward()
    assert all(p.grad is not None for p in [*model.encoder.parameters(), *model.predictor.parameters()])


def test_is_described_by_plain_values():
    model = small(masks=MixedMask(official=True, min_keep=4), predictor_depth=2, sync_batch_norm=False)
    again = build(describe(model))
    assert (again.masks, again.optim) == (model.masks, model.optim)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_guards():
    with pytest.raises(ValueError, match="image_size 200 is not a multiple of 32"):
        CNNJEPA("resnet18", 200)
    with pytest.raises(ValueError, match=r"MixedMask: masks cannot fit in a grid of \(2, 2\)"):
        CNNJEPA("resnet18", 64)
    with pytest.raises(ValueError, match="no model 'resnet19'"):
        CNNJEPA("resnet19")
    with pytest.raises(ValueError, match="cell 48, but a grid of"):
        small().encoder(batch(1)["x"], torch.tensor([[48]]))


def one_step(rank, world, rows, sync):
    """Loss, gradients and running statistics of the rows of one rank."""
    model = small(sync_batch_norm=sync).double()
    data = batch(6)
    part = slice(0, rows) if rank == 0 else slice(rows, None)
    part = slice(None) if rank is None else part
    data = {"x": data["x"][part].double(), "index": data["index"][part]}
    out = model.step(data)
    out.loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return out.loss.detach(), grads, dict(model.named_buffers())


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("rows", [3, 2])
def test_two_ranks_with_different_rows_are_one_process(ddp, rows):
    loss, grads, buffers = one_step(None, 1, rows, True)
    found = ddp(one_step, rows, True)
    for ours, _, statistics in found:
        torch.testing.assert_close(ours, loss)
        for name, value in buffers.items():
            torch.testing.assert_close(statistics[name], value)
    for name, grad in grads.items():  # DDP takes the mean over ranks
        torch.testing.assert_close((found[0][1][name] + found[1][1][name]) / 2, grad, rtol=1e-7, atol=1e-10)


@pytest.mark.slow
@pytest.mark.ddp
def test_without_sync_each_rank_has_its_own_statistics(ddp):
    found = ddp(one_step, 3, False)
    name = "encoder.model.bn1.running_mean"
    assert not torch.allclose(found[0][2][name], found[1][2][name])


@pytest.mark.slow
def test_training_learns_waves(tmp_path):
    """The loss falls, features stay different between cells, and neighbours know the direction."""
    torch.manual_seed(0)
    losses = tiny.Losses()
    model = small(ema=(0.9, 1.0), optim=Optim(lr=5e-3, start_lr=0.0, warmup_steps=8, final_weight_decay=None))
    monitor = RepresentationMonitor(max_samples=48)
    trainer = tiny.trainer(tmp_path, callbacks=[losses, monitor], max_epochs=15)
    data = Waves(batch_size=12)
    trainer.fit(model, data)
    assert sum(losses.values[-8:]) < 0.5 * sum(losses.values[:8])
    x = torch.stack([sample["x"] for sample in data.build("test")])
    tokens = model.tokens({"x": x})
    assert tokens.flatten(0, 1).std(0).mean() > 0
    features = torch.nn.functional.normalize(model.embed({"x": x}), dim=1)
    nearest = (features @ features.T - 2 * torch.eye(48)).argmax(1)
    label = torch.arange(48) % 2
    assert (label[nearest] == label).float().mean() > 0.8


@pytest.mark.slow
def test_commands(tmp_path, monkeypatch):
    """fit, embed, probe and report work on the small recipe as for every system."""
    from conjoin.core.cli.main import main

    monkeypatch.chdir(tmp_path)
    flags = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    quiet = ["--trainer.enable_progress_bar=false", "--data.batch_size=8"]
    assert main(["fit", "--config", "cnnjepa-small", *flags, *quiet]) in (0, None)
    assert main(["embed", "--split", "val", "--out", "features.npz"]) in (0, None)
    import numpy as np

    assert np.load("features.npz")["embedding"].shape == (2000, 128)
    arguments = ["--probes", "[linear]", "--budgets", "[10]", "--baselines", "[]", "--draws", "1"]
    assert main(["probe", *arguments]) in (0, None)
    assert main(["report"]) in (0, None)
    pages = list(tmp_path.rglob("report.html"))
    assert len(pages) == 1
    assert "to predict" in pages[0].read_text()

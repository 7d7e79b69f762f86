# SPDX-License-Identifier: Apache-2.0
"""Every "it works when" of the system: lengths of masks, loss, targets, teacher, gradients, features."""

import lightning.pytorch as pl
import pytest
import torch

from conjoin.core import random
from conjoin.core.checkpoint import fresh
from conjoin.core.data import DataModule
from conjoin.core.masking import IntervalMask
from conjoin.core.optim import Optim
from conjoin.core.spec import build, describe
from conjoin.pointcloud import PointJEPA

SIZES = {
    "groups": 16,
    "group_size": 6,
    "widths": (4, 6, 8),
    "encoder_dim": 16,
    "encoder_depth": 2,
    "encoder_heads": 2,
    "predictor_dim": 8,
    "predictor_depth": 2,
    "predictor_heads": 2,
    "init": "xavier",
    "optim": Optim(lr=1e-2, warmup_steps=1, weight_decay=0.05, final_weight_decay=None),
    "seed": 0,
}
PLAIN = {"dropout": 0.0, "attention_dropout": 0.0, "drop_path": 0.0}


def batch(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(count, 60, 3, generator=generator), "index": torch.arange(count)}


def system(**options):
    model = PointJEPA(**{**SIZES, **PLAIN, **options})
    return model


def test_masks_of_the_paper_in_a_thousand_draws():
    masks = IntervalMask()
    for number in range(1000):
        found = masks(
            (64,),
            random.fold(random.key(1, "test"), torch.arange(2) + 2 * number),
            random.key(2, "step", number),
        )
        found.validate((64,))
        length = found.targets.shape[2]
        assert 9 <= length <= 12
        assert (found.targets.diff(dim=-1) == 1).all()
        free = torch.stack([64 - row.unique().numel() * torch.ones(()) for row in found.targets])
        assert 1 <= found.context.shape[1] <= int(0.75 * free.min())


@pytest.mark.parametrize(("distance", "loss"), [(1.0, 0.25), (3.0, 2.0), (2.0, 1.0), (-1.0, 0.25)])
def test_loss_is_smooth_l1_with_beta_two_to_normalised_targets(distance, loss):
    hidden = torch.randn(2, 4, 5, 16, dtype=torch.float64) * 7 + 3
    rows = (hidden - hidden.mean(-1, keepdim=True)) / (
        hidden.var(-1, keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    assert rows.mean(-1).abs().max() < 1e-9
    torch.testing.assert_close(rows.var(-1, unbiased=False), torch.ones(2, 4, 5).double(), atol=1e-4, rtol=0)
    assert system().objective(rows + distance, hidden).loss.item() == pytest.approx(loss)
    assert system(normalize="whiten").objective.normalization == "whiten"


def test_step_equals_the_plain_computation():
    model = system().eval()
    given = batch()
    out = model.step(given)
    encoder, predictor = model.encoder, model.predictor
    patches = encoder.cut(given["x"])
    masks = model.partition(given)
    tokens, positions = encoder.tokenizer(patches.points), encoder.positions(patches.centers)
    hidden = tokens
    for block in model.teacher.blocks:
        hidden = block(hidden + positions)
    losses = []
    for b in range(4):
        seen = masks.context[b]
        features = encoder.transformer(tokens[b, seen][None], positions[b, seen][None])
        for block in masks.targets[b]:
            said = predictor(features, seen[None], block[None, None], patches.centers[b : b + 1])[0, 0]
            wanted = torch.nn.functional.layer_norm(hidden[b, block], (16,))
            losses.append(torch.nn.functional.smooth_l1_loss(said, wanted, beta=2.0))
    torch.testing.assert_close(out.loss, torch.stack(losses).mean())
    normed = model.teacher.norm(hidden)
    torch.testing.assert_close(out.embedding, torch.cat((normed.max(1).values, normed.mean(1)), 1))
    assert out.extras["targets"].shape[1] == 4


def test_gradients_reach_the_student_alone():
    model = system().train()
    model.step(batch()).loss.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    first = {name: p.grad.clone() for name, p in model.encoder.tokenizer.named_parameters()}
    assert all(g.abs().max() > 0 for name, g in first.items() if name.endswith("weight"))
    assert all(p.grad.abs().max() > 0 for p in model.encoder.positions.parameters())
    # The same with the targets as constants: the tokenizer learns nothing through them.
    model.zero_grad()
    given = batch()
    patches = model.encoder.cut(given["x"], model._start(given))
    with torch.no_grad():
        features = model.encode_targets(
            dict(zip(("tokens", "positions"), model.encoder.tokenize(patches), strict=True))
        ).clone()
    plain = type(model).encode_targets
    try:
        type(model).encode_targets = lambda self, made: features
        model.step(given).loss.backward()
    finally:
        type(model).encode_targets = plain
    for name, parameter in model.encoder.tokenizer.named_parameters():
        torch.testing.assert_close(parameter.grad, first[name], rtol=1e-4, atol=1e-7)


def test_dropout_is_a_function_of_the_key():
    model = system(dropout=0.3, attention_dropout=0.2, drop_path=0.3).train()
    state = torch.random.get_rng_state()
    first = model.step(batch()).loss
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(model.step(batch()).loss, first)
    model._batch_idx = 1
    assert not torch.equal(model.step(batch()).loss, first)


def test_sampling_starts_anywhere_in_training_only():
    model = system()
    model.train()
    start = model._start(batch(64))
    assert start.shape == (64,)
    assert len(start.unique()) > 20
    assert 0 <= start.min() <= start.max() < 60
    assert model.eval()._start(batch()) is None


class Clouds(DataModule):
    num_classes = 2

    def build(self, split):
        x = torch.randn(32, 60, 3, generator=torch.Generator().manual_seed(3))
        return [{"x": cloud, "label": n % 2} for n, cloud in enumerate(x)]


class Record(pl.Callback):
    def __init__(self):
        self.student, self.momenta = [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.student.append([p.detach().clone() for p in pl_module.encoder.transformer.parameters()])


def test_teacher_is_the_closed_form_average(tmp_path):
    model = system(ema=(0.5, 0.9))
    record = Record()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0, limit_val_batches=0,
        callbacks=[record],
    )  # fmt: skip
    trainer.fit(model, Clouds(batch_size=8))
    assert trainer.global_step == 8
    group = trainer.optimizers[0].param_groups
    assert len(group) == 1
    assert group[0]["weight_decay"] == 0.05
    assert sum(p.numel() for p in group[0]["params"]) == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )
    assert [model.momentum(step) for step in (0, 1)] == [0.0, 0.0]
    assert model.momentum(4) == pytest.approx(0.7)
    expected = record.student[1]
    for step in range(2, 8):
        m = 0.5 + 0.4 * step / 8
        expected = [m * e + (1 - m) * s for e, s in zip(expected, record.student[step], strict=True)]
    for ours, theirs in zip(model.teacher.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_momentum_of_the_paper():
    model = system(ema=(0.9995, 0.99999))
    model.horizon = lambda: (40_500, 81)
    assert model.momentum(0) == 0.0
    assert model.momentum(20_250) == pytest.approx(0.999745)
    assert model.momentum(40_500) == pytest.approx(0.99999)


def test_features_are_the_students_maximum_beside_its_mean():
    model = system().eval()
    given = batch()
    tokens = model.encoder(given["x"])
    torch.testing.assert_close(model.embed(given), torch.cat((tokens.amax(1), tokens.mean(1)), 1))
    assert model.embed(given, layers=2).shape == (4, 64)
    shuffled = {**given, "x": torch.cat((given["x"][:, :1], given["x"][:, 1:].flip(1)), 1)}
    torch.testing.assert_close(model.embed(shuffled), model.embed(given))  # point 0 starts the sampling


def test_describes_itself():
    model = system()
    again = build(describe(model))
    assert describe(again) == describe(model)
    for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    other = fresh(model, seed=5)
    assert not torch.equal(
        other.encoder.tokenizer.first_conv[0].weight, model.encoder.tokenizer.first_conv[0].weight
    )


def test_is_drawn_for_the_report():
    model = system().eval()
    given = batch()
    masks = model.partition(given)
    one = type(masks)(*(m[:1] if m is not None else None for m in (masks.context, masks.targets, None, None)))
    panels = model.draw({"x": given["x"][0]}, one, (16,))
    assert [panel.caption.replace(":", ",").split(",")[0] for panel in panels] == [
        "patches",
        "context",
        "targets",
    ]


def test_refuses_masks_that_fill_the_sequence():
    with pytest.raises(ValueError, match="masks cannot fit in 16 tokens"):
        system(masks=IntervalMask(targets=8))

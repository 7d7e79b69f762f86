# SPDX-License-Identifier: Apache-2.0
import csv
import math

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from conjoin.core.callbacks import RepresentationMonitor
from conjoin.core.callbacks.ema import update_average
from conjoin.core.masking import SubsetMask
from conjoin.core.spec import build, describe
from conjoin.tabular import TJEPA, EmbeddedTable, RepeatedSubsetMask, Table, TableModule
from conjoin.tabular.convert import official_states
from conjoin.tabular.data import Source

SMALL = {
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "hidden": 16,
    "predictor_dim": 8,
    "predictor_depth": 2,
    "predictor_heads": 2,
    "predictor_hidden": 16,
    "seed": 0,
}


def small(numeric=8, categories=(3, 4), **options):
    return TJEPA(numeric, categories, **(SMALL | options))


def batch(size=6, numeric=8):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(size, numeric, generator=generator)
    codes = torch.stack((torch.arange(size) % 3, torch.arange(size) % 4), dim=1)
    return {"x": torch.cat((numbers, codes), dim=1), "index": torch.arange(size)}


def test_defaults_are_the_published_constants():
    model = TJEPA(54, seed=0)
    assert model.masks == SubsetMask(4, (0.136, 0.368), (0.156, 0.622))
    assert (model.objective.distance, model.objective.normalization) == ("l2", "none")
    assert (model.ema, model.clamp, model.encoder.transformer.dropout) == ((0.996, 1.0), 1.0, 0.00185)
    assert model.predictor.transformer.dropout == 0.00193
    optim = model.optim
    assert (optim.name, optim.lr, optim.start_lr, optim.final_lr) == ("adamw", 3.66e-4, 0.0, 0.0)
    assert (optim.warmup_epochs, optim.weight_decay, optim.final_weight_decay) == (10, 0.0, None)


def test_parameters_as_published():
    """Figures of the release count a layer per transformer, a norm and a table that do nothing."""
    model = TJEPA(54, seed=0)
    states = official_states(model)
    encoder = sum(t.numel() for name, t in states["context_encoder"].items() if name != "pe.pe")
    predictor = sum(t.numel() for t in states["predictor"].values())
    assert (encoder, predictor) == (440_064, 166_880)
    assert predictor - states["predictor"]["predictor_pos_embed"].numel() == 166_016
    idle = sum(
        t.numel()
        for name, t in states["predictor"].items()
        if "transformer_layers" in name or name.startswith("layer_norm.")
    )
    assert sum(p.numel() for p in model.predictor.parameters()) == 166_016 - idle
    assert model.tokens({"x": torch.randn(2, 54)}).shape == (2, 55, 64)
    assert model.embed({"x": torch.randn(2, 54)}).shape == (2, 55 * 64)


def test_masks_are_disjoint_of_one_length_and_differ():
    model = TJEPA(54, masks=SubsetMask(), **SMALL)
    equal, lengths = 0, set()
    for number in range(20):
        model._batch_idx = number
        masks = model.partition({"x": torch.zeros(16, 54), "index": torch.arange(16)})
        masks.validate((55,))
        seen, hidden = masks.context.shape[1] - 1, masks.targets.shape[2]
        assert round(54 * 0.136) <= seen <= round(54 * 0.368)
        assert round(54 * 0.156) <= hidden <= round(54 * 0.622)
        lengths.add((seen, hidden))
        equal += int((masks.targets == masks.targets[:, :1]).all(dim=(1, 2)).sum())
    assert equal == 0
    assert len(lengths) > 5


def test_register_is_always_seen_and_every_column_is_used_equally():
    """Over 2,000 draws each column is context and target as often as its share says."""
    model = small()
    counts, draws, expected, variance = np.zeros((2, 10)), 0, np.zeros(2), np.zeros(2)
    for number in range(40):
        model._batch_idx = number
        masks = model.partition({"x": torch.zeros(50, 10), "index": torch.arange(50) + 50 * number})
        assert (masks.context[:, 0] == 0).all()
        assert (masks.targets > 0).all()
        context, targets = masks.as_grid((11,))
        counts[0] += context[:, 1:].sum(0).numpy()
        counts[1] += targets[:, 0, 1:].sum(0).numpy()
        draws += 50
        for kind, share in enumerate(((masks.context.shape[1] - 1) / 10, masks.targets.shape[2] / 10)):
            expected[kind] += 50 * share
            variance[kind] += 50 * share * (1 - share)
    assert draws == 2000
    for kind in range(2):
        # The largest of ten columns goes past three deviations in one of forty runs: four for all together.
        assert np.abs(counts[kind] - expected[kind]).max() < 4 * math.sqrt(variance[kind])
        assert (np.abs(counts[kind] - expected[kind]) < 3 * math.sqrt(variance[kind])).sum() >= 9


def test_released_numbering_hides_the_register_and_never_uses_the_last_column():
    model = small(register="as_column", masks=RepeatedSubsetMask())
    context, targets = torch.zeros(11), torch.zeros(11)
    for number in range(30):
        model._batch_idx = number
        masks = model.partition(batch())
        assert (masks.targets == masks.targets[:, :1]).all()
        a, b = masks.as_grid((11,))
        context += a.sum(0)
        targets += b[:, 0].sum(0)
    assert context[10] == targets[10] == 0
    assert targets[0] > 0
    assert 0 < context[0] < 30 * 6
    assert model.step(batch()).loss.isfinite()


def test_without_register_tokens_are_columns():
    model = small(register="off")
    assert model.tokens(batch()).shape == (6, 10, 8)
    model.partition(batch()).validate((10,))
    model.step(batch()).loss.backward()


def test_context_does_not_see_hidden_columns():
    model, data = small(dropout=0.0, predictor_dropout=0.0), batch()
    masks = model.partition(data)
    context = model.encode_context(data, masks)
    changed = data["x"].clone()
    for row in range(6):
        hidden = sorted(set(range(10)) - set((masks.context[row] - 1).tolist()))
        changed[row, [column for column in hidden if column < 8]] = 9.0
        changed[row, [column for column in hidden if column >= 8]] = 2.0
    assert torch.equal(context, model.encode_context({"x": changed}, masks))
    assert not torch.allclose(model.encode_targets(data), model.encode_targets({"x": changed}))


def test_loss_is_the_mean_square_over_sets_tokens_and_channels():
    model, data = small(dropout=0.0, predictor_dropout=0.0), batch()
    masks = model.partition(data)
    features = model.teacher(data["x"])
    predicted = model.predict(model.encode_context(data, masks), masks)
    total, count = 0.0, 0
    for row in range(6):
        for number in range(4):
            for place, token in enumerate(masks.targets[row, number].tolist()):
                difference = predicted[row, number, place] - features[row, token]
                total += float((difference.detach().double() ** 2).sum())
                count += 8
    assert model.step(data).loss.item() == pytest.approx(total / count, rel=1e-5)


def test_gradients_reach_the_student_and_not_the_teacher():
    model = small()
    model.train()
    model.step(batch()).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    for name, parameter in [*model.encoder.named_parameters(), *model.predictor.named_parameters()]:
        assert parameter.grad is not None, name


def test_teacher_follows_exactly():
    model = small()
    old = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1.0)
    update_average(model.encoder, model.teacher, 0.98)
    for now, before, student in zip(model.teacher.parameters(), old, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(now, 0.98 * before + 0.02 * student)


def test_dropout_is_a_function_of_the_step():
    model, data = small(dropout=0.3, predictor_dropout=0.3), batch()
    model.train()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = model.step(data).loss
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, model.step(data).loss)
    model._batch_idx = 1
    assert not torch.equal(first, model.step(data).loss)
    assert torch.equal(model.encode_targets(data), model.encode_targets(data))  # the teacher has none
    released = small(dropout=0.3, teacher_dropout=True)
    released.train()
    assert not torch.equal(released.encode_targets(data), released.encode_targets(data))
    assert torch.equal(released.tokens(data), released.tokens(data))
    assert released.teacher.training


class Rows(TableModule):
    """Eight numbers, two kinds; the target is one of the kinds."""

    def __init__(self, numeric=8, **options):
        super().__init__("classification", batch_size=16, seed=0, **options)
        self.count = numeric

    def read(self):
        generator = np.random.default_rng(0)
        columns = {f"n{place}": generator.normal(size=80) for place in range(self.count)}
        kind = np.array(list("abc") * 26 + ["a", "b"], object)
        columns |= {"kind": kind, "four": np.array(list("wxyz") * 20, object)}
        return Source(Table(columns), kind)


def trainer(root, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return pl.Trainer(accelerator="cpu", logger=False, default_root_dir=root, **quiet, **options)


def test_encoder_gradients_are_clamped_before_the_step(tmp_path):
    seen = []

    class Spy(pl.Callback):
        def on_before_zero_grad(self, trainer, module, optimizer):
            grads = [p.grad for p in module.encoder.parameters() if p.grad is not None]
            if grads:
                seen.append(
                    (
                        max(g.abs().max().item() for g in grads),
                        module.predictor.mask_token.grad.abs().max().item(),
                    )
                )

    model = small(clamp=1e-6)
    trainer(tmp_path, max_steps=3, callbacks=[Spy()], num_sanity_val_steps=0, limit_val_batches=0).fit(
        model, datamodule=Rows()
    )
    assert seen
    assert all(encoder <= 1.001e-6 < predictor for encoder, predictor in seen)


def test_columns_of_data_and_encoder_are_compared(tmp_path):
    with pytest.raises(ValueError, match=r"data have numeric: 7, categories: \[3, 4\].*made for numeric: 8"):
        trainer(tmp_path, max_steps=1).fit(small(), datamodule=Rows(7))


def test_embedding_is_one_for_training_monitors_and_evaluation():
    model, data = small(), batch()
    model.train()
    assert torch.equal(model.step(data).embedding, model.embed(data))
    assert model.embed(data, layers=2).shape == (6, 11 * 16)


def test_is_described_by_plain_values():
    model = small(missing=(2,), type_embedding=True, masks=RepeatedSubsetMask(targets=2), clamp=None)
    again = build(describe(model))
    assert again.masks == model.masks
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    other = small(missing=(2,), type_embedding=True, seed=1)
    assert not torch.equal(model.encoder.tokenizer.weight, other.encoder.tokenizer.weight)


def test_guards():
    with pytest.raises(ValueError, match="'visible', 'as_column' or 'off', not 'hidden'"):
        small(register="hidden")
    with pytest.raises(ValueError, match="clamp must be positive or None, not 0"):
        small(clamp=0)
    with pytest.raises(ValueError, match="masks cannot fit in 1 tokens"):
        small(1, ())
    with pytest.raises(ValueError, match="3 heads do not divide dim 8"):
        small(heads=3)


@pytest.mark.slow
@pytest.mark.parametrize("register", ["visible", "off"])
def test_collapse_is_watched_with_and_without_register(tmp_path, register):
    """The paper's collapse switch: both are logged; whether it collapses depends on the data."""
    model = TJEPA(6, (5, 7, 8), register=register, **SMALL)
    logger = CSVLogger(tmp_path, name=None, version="run")
    run = pl.Trainer(
        accelerator="cpu",
        max_steps=40,
        logger=logger,
        callbacks=[RepresentationMonitor(every_n_steps=20)],
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    run.fit(model, datamodule=EmbeddedTable(seed=0))
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("monitor/rankme")]
    assert len(rows) > 2  # the log-spaced steps and every twentieth
    for row in rows:
        assert float(row["monitor/rankme"]) >= 1
        assert float(row["monitor/feature_std"]) > 0

# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from conjoin.biosignal import ECGJEPA, RunMask
from conjoin.biosignal.encoders import interleaved_positions
from conjoin.biosignal.methods.ecg_jepa import PAPER_OPTIM
from conjoin.core.checkpoint import build, describe
from conjoin.core.masking import RandomMask
from conjoin.core.optim import Optim


def small(**options):
    arguments = {
        "encoder_dim": 16,
        "encoder_depth": 2,
        "encoder_heads": 2,
        "predictor_dim": 8,
        "predictor_depth": 2,
        "predictor_heads": 2,
        "masks": RunMask(min_block=4),
        "seed": 0,
    }
    return ECGJEPA("vit_xs", 100, 5, 2, **(arguments | options))


def batch(size=4):
    x = torch.sin(torch.arange(size * 2 * 100.0)).view(size, 2, 100)
    return {"x": x, "index": torch.arange(size)}


def trained(model, steps, **options):
    """A bare run over one repeated batch."""
    samples = [{"x": x, "index": int(i)} for x, i in zip(*batch(8).values(), strict=True)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, DataLoader(samples, batch_size=2))
    return model


# Counted on the released code: encoder, predictor.
@pytest.mark.parametrize(
    ("name", "encoder", "predictor"),
    [
        ("vit_xs", 3_600_000, 923_328),
        ("vit_s", 14_277_888, 3_689_856),
        ("vit_b", 85_185_024, 21_833_472),
    ],
)
def test_parameter_counts_of_the_paper(name, encoder, predictor):
    with torch.device("meta"):
        model = ECGJEPA(name)
    assert sum(p.numel() for p in model.encoder.parameters()) == encoder
    assert sum(p.numel() for p in model.predictor.parameters()) == predictor
    assert not any(part.endswith("bias") for part, _ in model.named_parameters())


def test_defaults_are_the_released_constants():
    model = ECGJEPA(encoder_depth=1, predictor_depth=1)
    assert (model.masks, model.ema, model.encoder.grid) == (
        RunMask((0.15, 0.25), 10),
        (0.998, 0.9995),
        (200,),
    )
    assert (model.objective.distance, model.objective.normalization) == ("l1", "none")
    assert model.optim is PAPER_OPTIM
    assert (PAPER_OPTIM.betas, PAPER_OPTIM.eps, PAPER_OPTIM.name) == ((0.9, 0.99), 1e-6, "adamw")
    expected = interleaved_positions(200, 96)
    assert torch.equal(model.predictor.predictor_pos_embed[0], expected)
    assert model.predictor.predictor_blocks[0].mlp.fc2.gain == pytest.approx(2**-0.5)


def test_schedules_of_the_paper():
    lr, decay = PAPER_OPTIM.schedules(100_000, 488)
    assert lr(0) == 1e-6
    assert lr(5_000) == pytest.approx((1e-6 + 1e-3) / 2)
    assert lr(10_000) == 1e-3
    assert lr(99_999) == pytest.approx(1e-6, rel=1e-6)
    assert decay(0) == pytest.approx(0.01, rel=1e-12)
    assert decay(50_000) == pytest.approx(0.055)
    assert decay(99_999) == pytest.approx(0.1, rel=1e-6)


def momentum(step, micro=1, **options):
    model = small(**options)
    model.horizon = lambda: (100_000, 488)
    # Lightning's property asks for an attached trainer.
    model._trainer = SimpleNamespace(accumulate_grad_batches=micro)
    return model.momentum(step)


def test_momentum_belongs_to_the_next_step():
    # After the optimiser step 49,999 the release would use m(50,000), at the start of step 50,000.
    assert momentum(49_999) == pytest.approx(0.99875, abs=1e-12)
    assert momentum(0) == pytest.approx(0.998 + 0.0015 / 100_000, abs=1e-12)
    assert momentum(99_999) == momentum(200_000) == 0.9995


def test_accumulation_counts_optimiser_steps_unless_asked():
    assert momentum(49_999, micro=2) == pytest.approx(0.99875, abs=1e-12)
    half_way = momentum(49_999, micro=2, official_accumulation=True)
    assert half_way == pytest.approx(0.9995**2, abs=1e-12)
    first = momentum(0, micro=2, official_accumulation=True)
    assert first == pytest.approx((0.998 + 0.0015 * 2e-5) * (0.998 + 0.0015 * 3e-5), abs=1e-12)
    assert momentum(7, official_accumulation=True) == momentum(7)


def test_one_training_step_moves_the_teacher_exactly():
    model = small(ema=(0.998, 0.998), optim=Optim(lr=0.1, start_lr=0.1, final_lr=0.1, weight_decay=0.0))
    old = [p.detach().clone() for p in model.teacher.parameters()]
    trained(model, 1)
    for teacher, before, student in zip(
        model.teacher.parameters(), old, model.encoder.parameters(), strict=True
    ):
        assert teacher.grad is None
        assert not torch.equal(before, student)
        torch.testing.assert_close(teacher, 0.998 * before + 0.002 * student, rtol=1e-6, atol=1e-7)


def test_the_first_loss_uses_the_encoder_itself_as_teacher():
    model, data = small().eval(), batch()
    masks = model.partition(data)
    out = model.step(data)
    predictions = model.predict(model.encoder(data["x"], keep=masks.context), masks)[:, 0]
    whole = model.encoder(data["x"])
    expected = 0.0
    for row in range(4):
        for place, token in enumerate(masks.targets[row, 0].tolist()):
            expected += (predictions[row, place] - whole[row, token]).abs().mean().item()
    assert out.loss.item() == pytest.approx(expected / masks.targets.numel(), rel=1e-5)
    # Targets are the normed output as it is: no second normalisation.
    assert torch.equal(out.extras["targets"][0, 0], whole[0, masks.targets[0, 0]])


def test_gradients_reach_student_and_predictor_alone():
    model = small()
    model.step(batch()).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.predictor.parameters())


def test_only_linear_and_convolution_weights_decay():
    model = trained(small(), 1)
    decayed, plain = model.configure_optimizers().param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in plain["params"]} == {
        name
        for name in names.values()
        if not name.startswith("teacher") and ("norm" in name or "token" in name)
    } | {"encoder.registers"}
    assert all(p.ndim in (2, 3) for p in decayed["params"])
    assert plain["weight_decay"] == 0.0


def test_is_described_by_plain_values_and_seeded():
    model = small(masks=RandomMask(), optim=Optim(lr=0.1, count_from=0), official_accumulation=True)
    again = build(describe(model))
    assert (again.masks, again.optim, again.official_accumulation) == (model.masks, model.optim, True)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(small(seed=1).predictor.mask_token, model.predictor.mask_token)


def test_embeddings_leave_registers_out():
    model, data = small(), batch()
    assert model.tokens(data).shape == (4, 20, 16)
    assert model.tokens(data, layers=2).shape == (4, 20, 32)
    torch.testing.assert_close(model.embed(data), model.teacher(data["x"]).mean(dim=1))


def test_guards():
    with pytest.raises(ValueError, match="no encoder 'vit_h'; choose one of vit_xs, vit_s, vit_b"):
        ECGJEPA("vit_h")
    with pytest.raises(ValueError, match="length 101 is no multiple of patch 5"):
        ECGJEPA("vit_xs", 101, 5)
    with pytest.raises(ValueError, match=r"keeping 0.25 of them hides 15, but a run has at least 16"):
        small(masks=RunMask(min_block=16))
    with pytest.raises(ValueError, match=r"signals \(B, 2, T\)"):
        small().step({"x": torch.zeros(2, 3, 100), "index": torch.arange(2)})

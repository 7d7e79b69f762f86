# SPDX-License-Identifier: Apache-2.0
import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from conjoin.audio import AJEPA, FrontEnd, TimeFrequencyMask
from conjoin.audio.masking import competence
from conjoin.audio.methods.a_jepa import PAPER_OPTIM
from conjoin.core.checkpoint import build, describe, load_model
from conjoin.core.masking import MultiBlockMask, OfficialMultiBlockMask, RandomMask
from conjoin.core.optim import Optim

GRID = (12, 8)


def small(**options):
    arguments = {
        "encoder_dim": 16,
        "encoder_depth": 2,
        "encoder_heads": 2,
        "predictor_dim": 8,
        "predictor_depth": 2,
        "predictor_heads": 2,
        "seed": 0,
    }
    return AJEPA("vit_s", 24, 16, 2, **(arguments | options))


def batch(size=4):
    return {
        "x": torch.randn(size, 1, 24, 16, generator=torch.Generator().manual_seed(1)),
        "index": torch.arange(size),
    }


class Seen(pl.Callback):
    """What was logged at each optimiser step."""

    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def trained(model, steps, *callbacks, **options):
    data = batch(8)
    samples = [{"x": x, "index": int(i)} for x, i in zip(data["x"], data["index"], strict=True)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, DataLoader(samples, batch_size=2))
    return trainer


def test_sizes_of_the_paper():
    with torch.device("meta"):
        model = AJEPA()
    assert model.grid == (64, 8)
    assert sum(p.numel() for p in model.encoder.parameters()) == 85_253_376
    assert sum(p.numel() for p in model.predictor.parameters() if p.requires_grad) == 51_227_392


def test_defaults_are_the_constants_of_the_paper():
    with torch.device("meta"):
        model = AJEPA("vit_s", predictor_depth=1)
    assert model.masks == TimeFrequencyMask(targets=3, target_scale=(0.05, 0.075), target_aspect=(0.75, 1.5))
    assert model.easy_masks == MultiBlockMask(targets=4, target_scale=(0.15, 0.2), context_scale=(0.85, 1.0))
    assert (model.curriculum, model.curriculum_start, model.ema) == ("rising", 0.01, (0.996, 1.0))
    assert (model.objective.distance, model.objective.normalization) == ("l2", "layer")
    assert model.optim is PAPER_OPTIM
    assert (PAPER_OPTIM.lr, PAPER_OPTIM.betas, PAPER_OPTIM.weight_decay) == (2e-4, (0.9, 0.95), 1e-4)
    lr, decay = PAPER_OPTIM.schedules(24 * 100, 100)
    assert lr(300) == pytest.approx(2e-4, rel=0.01)
    assert lr(2399) < 1e-6
    assert decay(0) == decay(2000) == 1e-4


def test_a_ten_second_clip_is_512_tokens():
    x = FrontEnd().build()(torch.zeros(1, 160_000))
    model = AJEPA("vit_s", encoder_dim=8, encoder_depth=1, encoder_heads=2, predictor_depth=1)
    assert x.shape == (1, 1, 1024, 128)
    assert model.encoder(x).shape == (1, 512, 8)


def test_the_mode_is_drawn_with_the_competence():
    model = small()
    hard = [model.is_hard(2500 + 10_000 * i, 4 * (2500 + 10_000 * i)) for i in range(10_000)]
    assert sum(hard) == pytest.approx(5000, abs=200)
    assert hard[:50] == [small().is_hard(2500 + 10_000 * i, 4 * (2500 + 10_000 * i)) for i in range(50)]
    assert hard[:200] != [
        small(seed=1).is_hard(2500 + 10_000 * i, 4 * (2500 + 10_000 * i)) for i in range(200)
    ]
    assert model.is_hard(100, 100)
    assert all(small(curriculum="always").is_hard(step, 100) for step in range(20))
    assert not any(small(curriculum="never").is_hard(step, 100) for step in range(20))


def test_masks_follow_the_curriculum_of_the_run():
    seen = Seen()
    model = small()
    trained(model, 12, seen)
    expected = [model.is_hard(step, 12) for step in range(12)]
    assert [bool(row["train/hard_masks"]) for row in seen.rows] == expected
    assert 0 < sum(expected) < 12
    shares = [competence(step, 12) for step in range(12)]
    assert shares == sorted(shares)
    assert all(row["train/context_tokens"] > 10 for row in seen.rows)
    assert 0 <= seen.rows[-1]["train/relaxed_masks"] <= 1


def test_accumulated_batches_of_a_step_share_its_mode():
    seen = Seen()
    model = small()
    trained(model, 6, seen, accumulate_grad_batches=2)
    modes = [bool(row["train/hard_masks"]) for row in seen.rows]
    assert modes == [model.is_hard(step, 6) for step in range(6) for _ in range(2)]


def test_evaluation_uses_the_hard_masks():
    model = small(curriculum="never").eval()
    masks = model.partition(batch())
    masks.validate(GRID)
    assert masks.targets.shape[1] == 3
    assert torch.equal(model.partition(batch()).context, masks.context)


def test_context_and_targets_are_apart_in_both_modes():
    for curriculum in ("always", "never"):
        model = small(curriculum=curriculum)
        sampler = model.masks if curriculum == "always" else model.easy_masks
        for number in range(10):
            masks = sampler(GRID, model.sample_keys(batch(32), f"mask {number}"), number)
            masks.validate(GRID)
            assert masks.context.shape[0] == 32


def test_loss_by_hand():
    model, data = small().eval(), batch()
    masks = model.partition(data)
    predictions = model.predict(model.encoder(data["x"], keep=masks.context), masks)
    whole = torch.nn.functional.layer_norm(model.encoder(data["x"]), (16,))
    expected = 0.0
    for row in range(4):
        for block in range(3):
            for place, token in enumerate(masks.targets[row, block].tolist()):
                expected += (predictions[row, block, place] - whole[row, token]).square().mean().item()
    assert model.step(data).loss.item() == pytest.approx(expected / masks.targets.numel(), rel=1e-5)
    targets = torch.randn(2, 3, 4, 16)
    perfect = torch.nn.functional.layer_norm(targets, (16,))
    assert model.objective(perfect, targets).loss == 0
    c = torch.linspace(-1, 1, 16)
    assert model.objective(perfect + c, targets).loss.item() == pytest.approx(
        c.square().mean().item(), rel=1e-5
    )


def test_gradients_and_the_teacher():
    model = small(ema=(0.996, 0.996), optim=Optim(lr=0.1, start_lr=0.1, final_lr=0.1, weight_decay=0.0))
    model.step(batch()).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.predictor.parameters())
    model.zero_grad()
    old = [p.detach().clone() for p in model.teacher.parameters()]
    trained(model, 1)
    for teacher, before, student in zip(
        model.teacher.parameters(), old, model.encoder.parameters(), strict=True
    ):
        assert not torch.equal(before, student)
        torch.testing.assert_close(teacher, 0.996 * before + 0.004 * student, rtol=1e-6, atol=1e-7)


def test_is_described_by_plain_values_and_seeded(tmp_path):
    model = small(easy_masks=OfficialMultiBlockMask(min_keep=4), masks=RandomMask(), curriculum="falling")
    again = build(describe(model))
    assert (again.easy_masks, again.masks, again.curriculum) == (model.easy_masks, model.masks, "falling")
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    trainer = trained(small(), 1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt")
    torch.testing.assert_close(loaded.embed(batch()), trainer.model.embed(batch()))


def test_guards():
    with pytest.raises(ValueError, match="no encoder 'vit_xl'; choose one of vit_s, vit_b, vit_l"):
        AJEPA("vit_xl")
    with pytest.raises(ValueError, match="curriculum must be one of rising"):
        small(curriculum="up")
    with pytest.raises(ValueError, match="starts at a share between 0 and 1, not 2"):
        small(curriculum_start=2.0)
    with pytest.raises(ValueError, match="masks cannot fit in a grid"):
        small(easy_masks=MultiBlockMask(min_keep=95))

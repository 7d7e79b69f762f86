# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
import torch

from conjoin.core.callbacks.ema import update_average
from conjoin.core.checkpoint import build, describe
from conjoin.core.masking import MultiBlockMask, OfficialMultiBlockMask
from conjoin.core.optim import Optim
from conjoin.vision import IJEPA


def small(**options):
    arguments = {
        "encoder_dim": 24,
        "encoder_depth": 2,
        "encoder_heads": 3,
        "predictor_dim": 12,
        "predictor_depth": 2,
        "seed": 0,
    }
    return IJEPA("vit_tiny", 32, 4, 1, **(arguments | options))


def batch(size=4):
    x = torch.sin(torch.arange(size * 32 * 32.0)).view(size, 1, 32, 32)
    return {"x": x, "index": torch.arange(size)}


def test_defaults_are_the_released_constants():
    model = small()
    assert model.masks == MultiBlockMask()
    assert (model.masks.target_scale, model.masks.context_scale) == ((0.15, 0.2), (0.85, 1.0))
    assert (model.objective.distance, model.objective.normalization) == ("smooth_l1", "layer")
    assert model.ema == (0.996, 1.0)
    assert len(IJEPA("vit_tiny", 32, 4).predictor.predictor_blocks) == 12


def test_gradients_reach_the_student_and_not_the_teacher():
    model = small()
    model.step(batch()).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    for block in model.encoder.blocks:
        assert all(p.grad is not None for p in block.parameters())
    assert model.predictor.mask_token.grad.abs().sum() > 0


@pytest.mark.parametrize("prediction", ["apart", "together"])
def test_targets_are_aligned_with_predictions(prediction):
    """A predictor that returns the normalised target of each index has no loss."""
    model, data = small(prediction=prediction), batch()
    features = torch.nn.functional.layer_norm(model.encode_targets(data), (24,))

    class Oracle(torch.nn.Module):
        def forward(self, context, context_index, target_index, context_valid=None, targets_valid=None):
            return torch.stack([features[b][target_index[b]] for b in range(len(features))])

    model.predictor = Oracle()
    assert model.step(data).loss.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("prediction", ["apart", "together"])
def test_who_sees_whom_among_the_blocks(prediction):
    """Apart, a block's predictions do not depend on where the others are; together they do."""
    model, data = small(prediction=prediction).eval(), batch()
    masks = model.partition(data)
    context = model.encode_context(data, masks)
    first = model.predict(context, masks)
    moved = masks.targets.clone()
    moved[:, 1:] = (moved[:, 1:] + 1) % 64
    second = model.predict(context, dataclasses.replace(masks, targets=moved))
    assert first.shape == second.shape == (*masks.targets.shape, 24)
    same = torch.allclose(first[:, 0], second[:, 0], rtol=0, atol=1e-6)
    assert same == (prediction == "apart")


def test_teacher_starts_equal_and_follows():
    model = small()
    old = [p.clone() for p in model.teacher.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(old, model.encoder.parameters(), strict=True))
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1.0)
    update_average(model.encoder, model.teacher, 0.996)
    for now, before, student in zip(model.teacher.parameters(), old, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(now, 0.996 * before + 0.004 * student)


def test_weights_are_a_function_of_the_seed():
    torch.manual_seed(1)
    first, state = small(), torch.get_rng_state()
    torch.manual_seed(2)
    second, other = small(), small(seed=1)
    assert torch.equal(first.encoder.norm.weight, second.encoder.norm.weight)
    assert torch.equal(first.predictor.mask_token, second.predictor.mask_token)
    assert not torch.equal(first.predictor.mask_token, other.predictor.mask_token)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_is_described_by_plain_values():
    model = small(
        masks=OfficialMultiBlockMask(min_keep=4), optim=Optim(lr=0.1), init="xavier", patch_gain=2.0
    )
    again = build(describe(model))
    assert (again.masks, again.optim) == (model.masks, model.optim)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_official_size_on_the_meta_device():
    with torch.device("meta"):
        model = IJEPA("vit_huge", 224, 14)
    assert sum(t.numel() for t in model.encoder.state_dict().values()) == 630_762_240
    assert sum(t.numel() for t in model.predictor.state_dict().values()) == 22_377_728


def test_timm_encoder():
    model = IJEPA("timm/test_vit", 160, predictor_dim=32, predictor_depth=1, seed=0)
    loss = model.step({"x": torch.randn(2, 3, 160, 160), "index": torch.arange(2)}).loss
    assert loss.isfinite()
    with pytest.raises(ValueError, match="use a vision transformer"):
        IJEPA("timm/resnet10t", 64)


def test_guards():
    with pytest.raises(ValueError, match="no encoder 'vit_smal'"):
        IJEPA("vit_smal")
    with pytest.raises(ValueError, match="distance must be one of"):
        small(distance="huber")
    with pytest.raises(ValueError, match="prediction must be 'apart' or 'together', not 'both'"):
        small(prediction="both")
    with pytest.raises(ValueError, match="heads do not divide"):
        small(predictor_heads=5)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.core.nn import Predictor, reset_all
from conjoin.core.nn.positions import sincos_positions


def naive(model, context, context_index, target_index):
    """One sample and one target block at a time; every layer on every token."""
    table = sincos_positions(model.grid, model.dim, dtype=context.dtype)
    out = []
    for b in range(len(context)):
        for block in target_index[b]:
            seen = model.predictor_embed(context[b]) + table[context_index[b]]
            tokens = torch.cat((seen, model.mask_token[0] + table[block]))[None]
            for layer in model.predictor_blocks:
                tokens = tokens + layer.attn(layer.norm1(tokens))
                tokens = tokens + layer.mlp(layer.norm2(tokens))
            out.append(model.predictor_proj(model.predictor_norm(tokens))[0, len(seen) :])
    return torch.stack(out).view(*target_index.shape, -1)


def make(depth, grid=(4, 5), dtype=torch.float32):
    with random.seeded(3):
        model = Predictor(20, grid, 16, depth, 4, init="xavier", dtype=dtype)
        cells = model.predictor_pos_embed.shape[1]
        context_index = torch.stack([torch.randperm(cells)[:7].sort()[0] for _ in range(3)])
        target_index = torch.randint(0, cells, (3, 2, 4))
        return model, torch.randn(3, 7, 20, dtype=dtype, requires_grad=True), context_index, target_index


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("grid", [(20,), (4, 5), (2, 3, 4)])
def test_equals_the_naive_computation_in_value_and_gradient(depth, grid):
    model, context, context_index, target_index = make(depth, grid)
    expected = naive(model, context, context_index, target_index)
    weight = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    wanted = [context, *model.parameters()]
    reference = torch.autograd.grad((expected * weight).sum(), wanted)
    got = model(context, context_index, target_index)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(torch.autograd.grad((got * weight).sum(), wanted), reference, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_blocks_do_not_see_each_other():
    model, context, context_index, target_index = make(2)
    other = target_index.clone()
    other[:, 1] = (other[:, 1] + 1) % 20
    first, second = (model(context, context_index, index) for index in (target_index, other))
    torch.testing.assert_close(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 1], second[:, 1])


def test_padding_changes_nothing():
    model, context, context_index, target_index = make(2, dtype=torch.float64)
    wanted = model(context[:, :5], context_index[:, :5], target_index[:, :, :3])
    context_valid = torch.arange(7).expand(3, -1) < 5
    targets_valid = (torch.arange(4) < 3).expand(3, 2, -1)
    got = model(context, context_index, target_index, context_valid, targets_valid)
    torch.testing.assert_close(got[:, :, :3], wanted)
    only = model(context, context_index, target_index[:, :, :3], context_valid)
    torch.testing.assert_close(only, wanted)


def test_official_names_and_sizes():
    model = Predictor(1280, (16, 16), 384, 12, 16, device="meta")
    state = model.state_dict()
    assert len(state) == 152
    assert sum(t.numel() for t in state.values()) == 22_377_728
    assert sum(p.numel() for p in model.parameters()) == 22_279_424
    assert state["predictor_blocks.11.attn.qkv.weight"].shape == (1152, 384)
    assert {name.partition(".")[0] for name in state} == {
        *("mask_token", "predictor_pos_embed", "predictor_embed", "predictor_blocks", "predictor_norm"),
        "predictor_proj",
    }


@pytest.mark.parametrize(("dim", "depth", "total"), [(768, 6, 11_314_176), (1024, 12, 22_157_824)])
def test_official_sizes_of_other_variants(dim, depth, total):
    model = Predictor(dim, (14, 14), 384, depth, 12, device="meta")
    assert sum(t.numel() for t in model.state_dict().values()) == total


def test_meta_construction_gets_values_by_reset():
    model = Predictor(20, (4, 5), 16, 1, 4, device="meta").to_empty(device="cpu")
    reset_all(model)
    torch.testing.assert_close(model.predictor_pos_embed[0], sincos_positions((4, 5), 16))
    assert model.mask_token.std() < 0.05


def test_guards():
    model, context, context_index, target_index = make(1)
    with pytest.raises(ValueError, match=r"target_index \(B, M, Kt\)"):
        model(context, context_index, target_index[:, 0])
    with pytest.raises(ValueError, match=r"context \(B, Kc, D\)"):
        model(context[:, :3], context_index, target_index)
    with pytest.raises(ValueError, match="got depth 0"):
        Predictor(20, (4, 5), 16, 0)


def test_without_bias():
    predictor = Predictor(16, (6,), dim=8, depth=2, heads=2, bias=False, residual_gain=0.5)
    assert not any("bias" in name for name, _ in predictor.named_parameters())
    assert sum(p.numel() for p in predictor.parameters()) == 2 * 16 * 8 + 8 + 2 * (12 * 64 + 16) + 8
    assert predictor.predictor_blocks[0].attn.proj.gain == predictor.predictor_blocks[1].mlp.fc2.gain == 0.5


def test_positions_may_be_laid_out_by_a_subclass():
    class Reversed(Predictor):
        def positions(self):
            return super().positions().flip(0)

    table = Reversed(16, (6,), dim=8, depth=1, heads=2).predictor_pos_embed[0]
    assert torch.equal(table, sincos_positions((6,), 8).flip(0))

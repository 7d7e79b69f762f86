# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import nn

from conjoin.core import random
from conjoin.core.nn import Block, Linear, PatchProjection, Transformer, init_weight_, reset_all


@pytest.fixture(autouse=True)
def _keyed():
    with random.seeded(1):
        yield


def test_official_is_std_002_in_every_block():
    model = Transformer(192, 4, 3)
    for block in model.blocks:  # no 1/sqrt(2 i) on deeper blocks
        for weight in (
            block.attn.qkv.weight,
            block.attn.proj.weight,
            block.mlp.fc1.weight,
            block.mlp.fc2.weight,
        ):
            assert weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert weight.abs().max() > 0.06  # not cut at two standard deviations
        assert not block.attn.qkv.bias.any()


def test_xavier_is_uniform_within_its_bound():
    layer = Linear(100, 300, init="xavier")
    bound = math.sqrt(6 / 400)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert not layer.bias.any()


@pytest.mark.parametrize(("patch", "channels"), [(4, 1), (8, 3), (16, 3)])
def test_xavier_patch_gain_is_the_content_rms(patch, channels):
    layer = PatchProjection(channels, 512, (patch, patch), init="xavier", gain=1.5)
    content = layer(torch.randn(32, channels, 2 * patch, 2 * patch))
    assert content.square().mean().sqrt().item() == pytest.approx(1.5, rel=0.08)


def test_official_patch_gain_scales_the_weights():
    assert PatchProjection(3, 256, (8, 8), gain=3.0).weight.std().item() == pytest.approx(0.06, rel=0.05)


def test_dc_removes_the_mean_of_each_filter():
    with random.seeded(1):
        whole = PatchProjection(2, 8, (4, 4))
    with random.seeded(1):
        part = PatchProjection(2, 8, (4, 4), dc=0.25)
    mean = whole.weight.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(part.weight, whole.weight - mean + 0.25 * mean)


def test_guards():
    with pytest.raises(ValueError, match="init must be one of"):
        Linear(2, 2, init="kaiming")
    with pytest.raises(ValueError, match="init must be one of"):
        init_weight_(torch.empty(2, 2), "kaiming")
    with pytest.raises(ValueError, match=r"positive, got 0\.0"):
        PatchProjection(1, 2, (2, 2), gain=0.0)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 1\.5"):
        PatchProjection(1, 2, (2, 2), dc=1.5)


def test_meta_device_then_reset_gives_the_same_distribution():
    model = Block(64, 4, layer_scale=0.1, device="meta")
    assert all(p.is_meta for p in model.parameters())
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.constant_(parameter, float("nan"))
    reset_all(model)
    assert all(p.isfinite().all() for p in model.parameters())
    assert model.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert (model.ls1.gamma == 0.1).all()
    assert (model.norm1.weight == 1).all()


def test_gain_scales_a_linear_layer_and_survives_a_reset():
    torch.manual_seed(0)
    layer = Linear(256, 256, gain=0.5)
    for _ in range(2):
        assert layer.weight.detach().std().item() == pytest.approx(0.01, rel=0.03)
        layer.reset_parameters()

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.core.checkpoint import build, describe
from conjoin.core.nn import gather_tokens, reset_all, sincos_positions
from conjoin.vision import ViT, vit_huge
from conjoin.vision.encoders import build_vit


@pytest.fixture
def small():
    with random.seeded(0):
        return ViT((16, 24), (4, 8), 2, 24, 3, 3, init="xavier"), torch.randn(2, 2, 16, 24)


@pytest.mark.parametrize(
    ("name", "patch", "total", "trainable"),
    [
        ("vit_tiny", 16, 5_524_032, 5_486_400),
        ("vit_small", 16, 21_664_896, 21_589_632),
        ("vit_base", 16, 85_797_120, 85_646_592),
        ("vit_large", 16, 303_299_584, 303_098_880),
        ("vit_huge", 14, 630_762_240, 630_434_560),
        ("vit_giant", 16, 1_011_368_576, 1_011_092_608),
    ],
)
def test_official_parameter_counts(name, patch, total, trainable):
    encoder = build_vit(name, patch_size=patch, device="meta")
    assert sum(t.numel() for t in encoder.state_dict().values()) == total
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == trainable


def test_official_names_of_vit_huge():
    state = vit_huge(patch_size=14, device="meta").state_dict()
    assert len(state) == 389
    assert state["pos_embed"].shape == (1, 256, 1280)
    assert state["patch_embed.proj.weight"].shape == (1280, 3, 14, 14)
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    blocks = {f"blocks.{i}.{part}.{kind}" for i in range(32) for part in parts for kind in ("weight", "bias")}
    rest = {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias"}
    assert set(state) == blocks | rest


def test_keep_is_gathering_before_the_blocks(small):
    encoder, x = small
    keep = torch.tensor([[0, 5, 11], [2, 3, 4]])
    torch.testing.assert_close(encoder.embed(x), encoder.patch_embed(x) + sincos_positions((4, 3), 24))
    tokens = gather_tokens(encoder.embed(x), keep)
    for block in encoder.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(encoder(x, keep), encoder.norm(tokens))


def test_hidden_pixels_change_nothing(small):
    encoder, x = small
    keep = torch.tensor([[0, 1, 3], [0, 1, 4]])
    seen = torch.zeros(2, 12, dtype=torch.bool).scatter(1, keep, True)
    pixels = seen.view(2, 1, 4, 3).repeat_interleave(4, 2).repeat_interleave(8, 3)
    other = torch.where(pixels, x, torch.randn_like(x) * 9)
    assert torch.equal(encoder(x, keep), encoder(other, keep))


def test_hidden_tokens_are_replaced_before_positions(small):
    encoder, x = small
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    hidden[0, [1, 6]] = hidden[1, 11] = True
    tokens = encoder.patch_embed(x).masked_fill(hidden[..., None], 0.5) + encoder.pos_embed
    for block in encoder.blocks:
        tokens = block(tokens)
    found = encoder(x, hide=lambda patches: patches.masked_fill(hidden[..., None], 0.5))
    torch.testing.assert_close(found, encoder.norm(tokens))


def test_intermediate(small):
    encoder, x = small
    outputs = encoder.intermediate(x, 3)
    torch.testing.assert_close(outputs[2], encoder(x))
    torch.testing.assert_close(outputs[0], encoder.norm(encoder.blocks[0](encoder.embed(x))))
    with pytest.raises(ValueError, match="between 1 and the 3 blocks"):
        encoder.intermediate(x, 0)


def test_resized_keeps_weights_and_the_meaning_of_positions(small):
    encoder, _ = small
    larger = encoder.resized((32, 48))
    assert larger.grid == (8, 6)
    assert larger(torch.zeros(1, 2, 32, 48)).shape == (1, 48, 24)
    assert torch.equal(larger.blocks[0].mlp.fc1.weight, encoder.blocks[0].mlp.fc1.weight)
    assert larger.blocks[0].mlp.fc1.weight is not encoder.blocks[0].mlp.fc1.weight
    assert encoder.grid == (4, 3)
    # Four new cells lie about each old one, so their mean is near it.
    means = larger.pos_embed.view(4, 2, 3, 2, 24).mean(dim=(1, 3)).view(12, 24)
    assert (means - encoder.pos_embed[0]).abs().max() < 0.25
    assert describe(larger)["init_args"]["image_size"] == (32, 48)
    with pytest.raises(ValueError, match="multiple of the patch height, got 30 and 4"):
        encoder.resized((30, 48))


def test_positions_survive_unfreezing(small):
    encoder, _ = small
    assert "pos_embed" not in dict(encoder.requires_grad_(True).named_parameters())


def test_meta_then_reset():
    encoder = ViT(16, 4, 1, 24, 1, 3, device="meta").to_empty(device="cpu")
    reset_all(encoder)
    torch.testing.assert_close(encoder.pos_embed[0], sincos_positions((4, 4), 24))
    assert encoder(torch.zeros(1, 1, 16, 16)).isfinite().all()


def test_describes_itself(small):
    encoder, x = small
    again = build(describe(encoder))
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(x), encoder(x))


def test_guards():
    with pytest.raises(ValueError, match="depth 0"):
        ViT(16, 4, depth=0)
    with pytest.raises(ValueError, match="no vision transformer 'vit_smal'"):
        build_vit("vit_smal")

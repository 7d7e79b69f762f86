# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import MaskedSelfDistillation, SelfDistillation, random
from conjoin.core.checkpoint import build, describe
from conjoin.vision import TimmEncoder


def made(*arguments, **options):
    with random.seeded(0):
        return TimmEncoder(*arguments, **options).eval()


def test_vit_with_class_token():
    encoder = made("vit_tiny_patch16_224", 32, 1, options={"depth": 3})
    x = torch.randn(2, 1, 32, 32)
    assert encoder.grid == (2, 2)
    assert encoder.embed_dim == 192
    tokens = encoder(x)
    torch.testing.assert_close(tokens, encoder.model.forward_features(x)[:, 1:])
    everything = torch.arange(4).expand(2, -1)
    torch.testing.assert_close(encoder(x, everything), tokens)
    outputs = encoder.intermediate(x, 2)
    torch.testing.assert_close(outputs[-1], tokens)
    assert not torch.allclose(outputs[0], tokens)
    with pytest.raises(ValueError, match="between 1 and the 3 blocks"):
        encoder.intermediate(x, 4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_vit_gives_its_class_token(name):
    options = {"depth": 3, "dynamic_img_size": True, "init_values": None}
    encoder = made(name, 56, options=options, pool="class")
    side = 2 * encoder.model.patch_embed.patch_size[0]
    x = torch.randn(2, 3, side, side)
    token = encoder(x)
    assert token.shape == (2, 1, encoder.embed_dim)
    assert encoder.grid == (1, 1)
    torch.testing.assert_close(token.mean(dim=1), encoder.model(x))
    outputs = encoder.intermediate(x, 2)
    torch.testing.assert_close(outputs[-1], token)
    assert outputs[0].shape == token.shape
    assert build(describe(encoder)).pool == "class"
    with pytest.raises(ValueError, match="no patch tokens"):
        encoder(x, torch.tensor([[0]]))
    with pytest.raises(ValueError, match="no patch tokens"):
        encoder(x, hide=lambda patches: patches)


def test_a_system_sees_and_embeds_the_class_token():
    encoder = made("vit_tiny_patch16_224", 32, 1, options={"depth": 3}, pool="class")
    model = SelfDistillation(encoder, seed=0)
    x = torch.randn(4, 1, 32, 32)
    out = model.step({"x": x, "index": torch.arange(4)})
    out.loss.backward()
    assert encoder.model.cls_token.grad.abs().sum() > 0
    last, both = model.embed_each({"x": x}, (1, 2))
    torch.testing.assert_close(last, model.teacher.model(x))
    assert both.shape == (4, 2 * encoder.embed_dim)
    torch.testing.assert_close(both[:, -encoder.embed_dim :], last)


def test_ibot_needs_patches():
    encoder = made("vit_tiny_patch16_224", 32, 1, options={"depth": 2}, pool="class")
    with pytest.raises(ValueError, match=r"cannot fit in a grid of \(1, 1\)"):
        MaskedSelfDistillation(encoder, seed=0)


def test_vit_with_a_linear_head():
    encoder = made("vit_tiny_patch16_224", 32, options={"depth": 2, "num_classes": 48}, pool="class")
    x = torch.randn(2, 3, 32, 32)
    assert encoder.embed_dim == 48
    torch.testing.assert_close(encoder(x)[:, 0], encoder.model(x))
    assert [each.shape for each in encoder.intermediate(x, 2)] == 2 * [(2, 1, 48)]


def test_vit_drops_patches_in_training():
    encoder = made("vit_tiny_patch16_224", 64, options={"depth": 2, "patch_drop_rate": 0.5}, pool="class")
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(encoder(x), encoder(x))
    encoder.train()
    assert encoder(x).shape == (2, 1, 192)
    assert not torch.equal(encoder(x), encoder(x))


def test_pool_is_checked():
    with pytest.raises(ValueError, match="with a class token"):
        made("resnet10t", 64, pool="class")
    with pytest.raises(ValueError, match='must be "mean" or "class"'):
        made("resnet10t", 64, pool="max")


def test_vit_does_not_see_hidden_pixels():
    encoder = made("vit_tiny_patch16_224", 32, options={"depth": 2})
    x = torch.randn(1, 3, 32, 32)
    other = x.clone()
    other[:, :, 16:] = 5.0
    keep = torch.tensor([[0, 1]])
    assert encoder(x, keep).shape == (1, 2, 192)
    assert torch.equal(encoder(x, keep), encoder(other, keep))


@pytest.mark.parametrize("side", [32, 48])
def test_vit_hides_patches_behind_a_token(side):
    encoder = made("vit_tiny_patch16_224", 32, 1, options={"depth": 2, "dynamic_img_size": True})
    x = torch.randn(1, 1, side, side)
    hidden = torch.zeros(1, (side // 16) ** 2, dtype=torch.bool)
    hidden[0, 1] = True

    def hide(patches):
        return patches.masked_fill(hidden[..., None], 0.0)

    other = x.clone()
    other[:, :, :16, 16:32] = 5.0  # the second patch
    out = encoder(x, hide=hide)
    assert torch.equal(out, encoder(other, hide=hide))
    assert not torch.allclose(out, encoder(x))
    torch.testing.assert_close(encoder(x, hide=lambda patches: patches), encoder(x))


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext"])
def test_a_convolutional_network_gives_its_last_map(name):
    encoder = made(name, (64, 96))
    x = torch.randn(1, 3, 64, 96)
    assert encoder.grid == (2, 3)
    tokens = encoder(x)
    assert tokens.shape == (1, 6, encoder.embed_dim)
    torch.testing.assert_close(tokens[0, 4], encoder.model.forward_features(x)[0, :, 1, 1])
    torch.testing.assert_close(encoder.intermediate(x)[0], tokens)
    with pytest.raises(ValueError, match="hidden tokens cannot be left out"):
        encoder(x, torch.tensor([[0]]))
    with pytest.raises(ValueError, match="hidden tokens cannot be left out"):
        encoder(x, hide=lambda patches: patches)
    with pytest.raises(ValueError, match="only layers=1"):
        encoder.intermediate(x, 2)


def test_looking_for_the_grid_leaves_batch_norms_alone():
    encoder = made("resnet10t", 64)
    assert encoder.model.bn1.num_batches_tracked == 0


def test_describes_itself():
    encoder = made("resnet10t", 64, 1)
    again = build(describe(encoder))
    assert (again.grid, again.in_channels) == ((2, 2), 1)


def test_unknown_model():
    with pytest.raises(ValueError, match="no model 'vit_smol'; near it: "):
        TimmEncoder("vit_smol")

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
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

# SPDX-License-Identifier: Apache-2.0
import pytest
import timm
import torch

from conjoin.core import random
from conjoin.core.checkpoint import build, describe
from conjoin.vision import SparseCNN

SMALL = {"layers": (1, 1, 1, 1), "channels": (8, 8, 12, 16), "zero_init_last": False, "output_stride": 16}


def made(name="resnet18", size=64, options=SMALL):
    with random.seeded(0):
        return SparseCNN(name, size, 1, options=options)


def test_sizes_and_names_are_those_of_the_dense_network():
    encoder = made(size=(64, 96))
    assert (encoder.grid, encoder.stride, encoder.embed_dim) == ((4, 6), 16, 16)
    dense = timm.create_model("resnet18", num_classes=0, in_chans=1, **SMALL)
    assert list(encoder.model.state_dict()) == list(dense.state_dict())
    with torch.device("meta"):
        assert len(SparseCNN("resnet50").model.state_dict()) == 318


def test_everything_asked_for_is_the_dense_network():
    encoder, x = made().train(), torch.randn(2, 1, 64, 64)
    dense = encoder(x)
    torch.testing.assert_close(dense, encoder.model.forward_features(x).flatten(2).transpose(1, 2))
    everything = torch.arange(16).expand(2, -1)
    assert (encoder(x, everything) - dense).abs().max() < 1e-4


def test_tokens_are_those_asked_for():
    encoder, x = made().eval(), torch.randn(2, 1, 64, 64)
    keep = torch.tensor([[0, 5, 6, 15], [1, 2, 3, 3]])
    padding = torch.tensor([[False] * 4, [False, False, False, True]])
    found = encoder(x, keep, padding)
    assert found.shape == (2, 4, 16)
    # A sample alone, without padding.
    torch.testing.assert_close(found[1:, :3], encoder(x[1:], keep[1:, :3]))
    torch.testing.assert_close(found[:1], encoder(x[:1], keep[:1]))


def test_padding_shows_nothing():
    encoder, x = made().eval(), torch.randn(1, 1, 64, 64)
    other = x.clone()
    other[:, :, 48:, 48:] += 5  # cell 15
    keep, padding = torch.tensor([[0, 1, 15]]), torch.tensor([[False, False, True]])
    assert torch.equal(encoder(x, keep, padding), encoder(other, keep, padding))
    assert not torch.equal(encoder(x, keep), encoder(other, keep))


def test_convnext_has_no_weights_beside_the_map():
    encoder = made("test_convnext", options=None)
    encoder(torch.randn(2, 1, 64, 64), torch.tensor([[0], [1]])).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_looking_for_faults_leaves_batch_norms_alone():
    assert made().model.bn1.num_batches_tracked == 0


def test_describes_itself():
    again = build(describe(made()))
    assert (again.grid, again.stride) == ((4, 4), 16)


def test_guards():
    with pytest.raises(ValueError, match=r"image_size 72 is not a multiple of 16.*choose 64 or 80"):
        made(size=72)
    with pytest.raises(ValueError, match="only ResNets and ConvNeXts"):
        made("test_efficientnet", options=None)
    with pytest.raises(ValueError, match="without channel attention"):
        made("seresnet18", options=None)
    encoder, keep = made(), torch.tensor([[0, 16]])
    with pytest.raises(ValueError, match=r"cell 16, but a grid of \(4, 4\) has cells 0 to 15"):
        encoder(torch.zeros(1, 1, 64, 64), keep)
    with pytest.raises(ValueError, match=r"Images of \(80, 64\) pixels came to an encoder for \(64, 64\)"):
        encoder(torch.zeros(1, 1, 80, 64), keep)
    with pytest.raises(ValueError, match="1 rows for 2 images"):
        encoder(torch.zeros(2, 1, 64, 64), keep)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.audio import SpectrogramViT
from conjoin.audio.encoders import VARIANTS
from conjoin.core import random
from conjoin.core.nn import sincos_positions
from conjoin.core.spec import build, describe


def small(**options):
    with random.seeded(0):
        return SpectrogramViT(32, 16, (8, 4), 16, depth=2, heads=2, **options)


def x(frames=32, batch=2):
    return torch.randn(batch, 1, frames, 16, generator=torch.Generator().manual_seed(5))


def test_vit_b_has_the_size_of_the_paper():
    with torch.device("meta"):
        net = SpectrogramViT()
    assert net.grid == (64, 8)
    assert sum(p.numel() for p in net.parameters()) == 85_253_376
    assert VARIANTS["vit_s"] == (384, 12, 6)
    assert VARIANTS["vit_l"] == (1024, 24, 16)


def test_patches_are_a_convolution_in_time_major_order():
    net = small()
    conv = torch.nn.functional.conv2d(
        x(), net.patch_embed.proj.weight, net.patch_embed.proj.bias, stride=(8, 4)
    )
    # (B, D, time, band): flattening the last two axes is time-major.
    torch.testing.assert_close(net.patch_embed(x()), conv.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net.pos_embed[0], sincos_positions((4, 4), 16))


def test_hidden_patches_do_not_exist():
    net = small().eval()
    keep = torch.tensor([[0, 3, 9], [1, 2, 15]])
    out = net(x(), keep=keep)
    assert out.shape == (2, 3, 16)
    other = x()
    other[0, 0, :8, 4:8] = 9.0  # patch 1, which sample 0 does not keep
    assert torch.equal(net(other, keep=keep)[0], out[0])
    assert not torch.equal(net(other)[0], net(x())[0])


def test_patches_can_be_hidden_behind_a_token():
    net = small().eval()
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    hidden[:, 1] = True

    def hide(patches):
        return patches.masked_fill(hidden[..., None], 0.5)

    other = x()
    other[:, 0, :8, 4:8] = 9.0  # patch 1
    assert torch.equal(net(other, hide=hide), net(x(), hide=hide))
    assert not torch.allclose(net(x(), hide=hide), net(x()))


def test_shorter_maps_use_the_first_positions():
    net = small().eval()
    first = torch.arange(8).expand(2, -1)
    torch.testing.assert_close(net(x()[:, :, :16]), net(x(), keep=first), rtol=1e-5, atol=1e-5)


def test_intermediate_ends_with_the_output():
    net = small().eval()
    layers = net.intermediate(x(), 2)
    assert len(layers) == 2
    torch.testing.assert_close(layers[1], net(x()))
    assert not torch.equal(layers[0], layers[1])


def test_is_described_and_prints_itself():
    net = small(patch_gain=2.0, patch_dc=0.5)
    again = build(describe(net))
    assert again.grid == net.grid == (4, 4)
    assert (again.patch_embed.proj.gain, again.patch_embed.proj.dc) == (2.0, 0.5)
    assert "frames=32, mels=16, grid=(4, 4), heads=2" in repr(net)
    assert not any(name == "pos_embed" for name in net.state_dict())


def test_guards():
    with pytest.raises(ValueError, match="frames 30 is no multiple of 8"):
        SpectrogramViT(30, 16, 8, 16, 1, 2)
    with pytest.raises(ValueError, match="mels 10 is no multiple of 4"):
        SpectrogramViT(32, 10, (8, 4), 16, 1, 2)
    for shape in ((2, 1, 40, 16), (2, 1, 12, 16), (2, 1, 32, 8), (2, 2, 32, 16), (2, 32, 16)):
        with pytest.raises(ValueError, match=r"spectrograms \(B, 1, T, 16\) with T a multiple of 8 up to 32"):
            small()(torch.zeros(shape))

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from conjoin.biosignal.tokenizers import PatchEmbed1d


@pytest.mark.parametrize("bias", [True, False])
def test_is_the_convolution(bias):
    torch.manual_seed(0)
    embed = PatchEmbed1d(3, 8, 5, bias=bias).double()
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    expected = F.conv1d(x, embed.proj.weight, embed.proj.bias, stride=5).transpose(1, 2)
    torch.testing.assert_close(embed(x), expected)
    keep = torch.tensor([[0, 3, 7], [1, 2, 4]])
    torch.testing.assert_close(embed(x, keep), expected[torch.arange(2)[:, None], keep])


def test_hidden_patches_are_not_looked_at():
    embed = PatchEmbed1d(2, 4, 5)
    x = torch.randn(1, 2, 20)
    spoilt = x.clone()
    spoilt[:, :, 5:10] = float("nan")
    keep = torch.tensor([[0, 2, 3]])
    assert torch.equal(embed(x, keep), embed(spoilt, keep))


def test_initial_scale():
    torch.manual_seed(0)
    official = PatchEmbed1d(12, 256, 25, gain=2.0).proj.weight.detach()
    assert official.std() == pytest.approx(0.04, rel=0.02)
    xavier = PatchEmbed1d(12, 256, 25, init="xavier", gain=3.0)
    assert xavier.proj.weight.detach().std() == pytest.approx(3 / 300**0.5, rel=0.02)
    assert xavier(torch.randn(8, 12, 100)).detach().square().mean().sqrt() == pytest.approx(3, rel=0.05)
    assert "in_channels=12, patch=25" in repr(xavier)


@pytest.mark.parametrize("shape", [(2, 3, 40), (2, 2, 41), (2, 2, 0), (2, 40)])
def test_refuses_other_signals(shape):
    with pytest.raises(ValueError, match=r"signals \(B, 2, T\) with T a multiple of 5, got"):
        PatchEmbed1d(2, 4, 5)(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"in_channels": 0}, {"patch": 0}, {"gain": 0.0}])
def test_refuses_sizes(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is 0"):
        PatchEmbed1d(**({"in_channels": 2, "dim": 4, "patch": 5} | options))

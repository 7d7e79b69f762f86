# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F

from conjoin.core import random
from conjoin.core.nn import gather_tokens
from conjoin.vision.encoders.patch_embed import PatchEmbed


def test_is_a_convolution_and_keep_picks_its_tokens():
    with random.seeded(0):
        embed, x = PatchEmbed((16, 24), (4, 8), 2, 24), torch.randn(2, 2, 16, 24)
    assert embed.grid == (4, 3)
    expected = F.conv2d(x, embed.proj.weight, embed.proj.bias, stride=(4, 8)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(x), expected)
    keep = torch.tensor([[0, 5, 11], [2, 3, 4]])
    torch.testing.assert_close(embed(x, keep), gather_tokens(expected, keep))


@pytest.mark.parametrize("shape", [(2, 2, 24, 16), (2, 3, 16, 24), (2, 16, 24)])
def test_other_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 2, 16, 24\), got"):
        PatchEmbed((16, 24), (4, 8), 2, 24)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("image", "match"), [((32, 30), "width, got 30 and 4"), ((2, 32), "height, got 2 and 4")]
)
def test_images_consist_of_whole_patches(image, match):
    with pytest.raises(ValueError, match=match):
        PatchEmbed(image, (4, 4), 3, 8)

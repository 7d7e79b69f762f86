# SPDX-License-Identifier: Apache-2.0
"""The stem for small pictures."""

import pytest
import torch

from conjoin.core import spec
from conjoin.vision import CIFARResNet, TimmEncoder


def test_a_picture_of_32_pixels_leaves_a_map_of_4_by_4():
    encoder = CIFARResNet()
    assert (encoder.grid, encoder.embed_dim) == ((4, 4), 512)
    assert encoder(torch.randn(2, 3, 32, 32)).shape == (2, 16, 512)
    # The ImageNet network has 11,176,512 without its classifier; this stem has 9 cells instead of 49.
    assert sum(p.numel() for p in encoder.parameters()) == 11_176_512 - 64 * 3 * (49 - 9)
    assert TimmEncoder("resnet18", 32).grid == (1, 1)


def test_describes_itself():
    encoder = spec.build(spec.describe(CIFARResNet("resnet18", 28, 1)))
    assert encoder(torch.randn(1, 1, 28, 28)).shape == (1, 16, 512)


def test_other_stems_are_refused():
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 has no plain ResNet stem"):
        CIFARResNet("vit_tiny_patch16_224", 32)

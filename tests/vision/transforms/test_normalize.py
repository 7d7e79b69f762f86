# SPDX-License-Identifier: Apache-2.0
import torch

from conjoin.vision.transforms import IMAGENET_MEAN, IMAGENET_STD, denormalize, normalize


def test_normalize_is_the_formula_and_inverts():
    x = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = normalize(x, IMAGENET_MEAN, IMAGENET_STD)
    for channel in range(3):
        expected = (x[:, channel].double() / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        torch.testing.assert_close(y[:, channel].double(), expected, atol=2e-6, rtol=0)
    assert y.dtype == torch.float32
    torch.testing.assert_close(denormalize(y, IMAGENET_MEAN, IMAGENET_STD), x / 255, atol=1e-6, rtol=0)


def test_floats_are_taken_as_unit_range():
    x = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalize(x, (0.5,), (0.25,)), (x - 0.5) / 0.25)
    assert denormalize(torch.full((1, 1, 1), 100.0), (0.5,), (0.25,)).item() == 1

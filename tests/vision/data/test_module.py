# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.vision.data.arrays import ArrayDataset
from conjoin.vision.data.module import ImageModule


class Constant(ImageModule):
    def build(self, split):
        return ArrayDataset(torch.full((6, 3, 20, 20), 51, dtype=torch.uint8), torch.arange(6))


def test_one_number_serves_all_channels_and_the_loaders_crop():
    data = Constant(16, 3, (0.2,), (0.5,), batch_size=3)
    assert data.mean == (0.2, 0.2, 0.2)
    raw = next(iter(data.train_dataloader()))
    assert raw["x"].dtype == torch.uint8
    assert raw["x"].shape == (3, 3, 16, 16)
    x = data.batch_transform(raw, train=True)["x"]
    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-6, rtol=0)
    assert Constant(16, 1, (0.2,), (0.5,)).batch_transform(raw, True)["x"].shape == (3, 1, 16, 16)


def test_short_side_lets_no_crop_enlarge():
    # 0.3 of the area at ratio 3:4 of a square of side s is sqrt(0.3 * 0.75) s wide.
    assert Constant(224, 3, (0.5,), (0.5,)).short_side == 473
    assert Constant(224, 3, (0.5,), (0.5,), scale=None).short_side == 256


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((16, 2, (0.5,), (0.5,)), {}, "channels must be 1"),
        (
            (30, 3, (0.5,), (0.5,)),
            {"patch_size": 8},
            "image_size 30 is not a multiple of patch_size 8: choose 24 or 32",
        ),
        ((4, 3, (0.5,), (0.5,)), {"patch_size": 8}, "choose 8 or 16"),
        ((16, 3, (0.5, 0.5), (0.5,)), {}, r"mean has 2 numbers for 3 channel\(s\)"),
        ((16, 1, (0.5,), (0.5, 0.5, 0.5)), {}, r"std has 3 numbers for 1 channel\(s\)"),
        ((16, 1, (0.5,), (0.0,)), {}, "std must be positive"),
        ((16, 1, (0.5,), (0.5,)), {"color": 0.5}, "color distorts RGB"),
        ((16, 1, (0.5,), (0.5,)), {"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Constant(*arguments, **options)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.vision.transforms import EvalCrop, TrainCrop


def ramp(height, width):
    """A picture whose pixels tell their own row and column."""
    rows = torch.arange(height).view(-1, 1).expand(height, width)
    columns = torch.arange(width).expand(height, width)
    return torch.stack((rows, columns, torch.zeros_like(rows))).to(torch.uint8)


def test_train_crop_keeps_share_and_ratio():
    crop = TrainCrop(16)
    areas, ratios = [], []
    for sample in range(300):
        with random.seeded(random.key(0, "t", sample)):
            x = crop(ramp(200, 240)).float()
        assert x.shape == (3, 16, 16)
        # Rows and columns rise linearly, so the slope between bin centres gives the side of the crop.
        height = (x[0, -2, 8] - x[0, 1, 8]) / 13 * 16
        width = (x[1, 8, -2] - x[1, 8, 1]) / 13 * 16
        areas.append((height * width / (200 * 240)).item())
        ratios.append((width / height).item())
    assert 0.28 < min(areas) < 0.36
    assert 0.85 < max(areas) < 1.03
    assert 0.72 < min(ratios) < 0.82
    assert 1.22 < max(ratios) < 1.37


def test_train_crop_is_a_function_of_the_key():
    crop = TrainCrop(32, flip=0.5, color=1.0, blur=0.5)
    picture = torch.randint(
        0, 256, (3, 60, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    def draw(sample):
        with random.seeded(random.key(3, "t", sample)):
            return crop(picture)

    first = [draw(sample) for sample in range(6)]
    torch.rand(7)
    assert all(torch.equal(a, draw(sample)) for sample, a in enumerate(first))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    ("option", "steps"), [({}, 1), ({"flip": 0.5}, 2), ({"color": 1.0}, 3), ({"blur": 0.5}, 2)]
)
def test_options_are_off_unless_asked_for(option, steps):
    assert len(TrainCrop(8, **option).steps) == steps


def test_certain_flip_mirrors():
    picture = ramp(20, 20)
    with random.seeded(1):
        plain = TrainCrop(10)(picture)
    with random.seeded(1):
        flipped = TrainCrop(10, flip=1.0)(picture)
    assert torch.equal(plain.flip(-1), flipped)


def test_eval_crop_is_the_centre():
    x = EvalCrop(224, 256)(ramp(256, 250).repeat(1, 1, 1)).float()
    assert x.shape == (3, 224, 224)
    same = EvalCrop(20, 20)(ramp(20, 20))
    assert torch.equal(same, ramp(20, 20))
    centre = EvalCrop(10, 20)(ramp(20, 30))
    assert torch.equal(centre, ramp(20, 30)[:, 5:15, 10:20])
    assert EvalCrop(224).resize == 256


def test_small_pictures_are_enlarged():
    assert TrainCrop(32)(ramp(5, 7)).shape == (3, 32, 32)
    assert EvalCrop(32)(ramp(5, 7)).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainCrop(0), "size must be at least 1"),
        (lambda: TrainCrop(8, (0.0, 1.0)), "scale must be"),
        (lambda: TrainCrop(8, (0.9, 0.3)), "scale must be"),
        (lambda: TrainCrop(8, (0.3, 1.2)), "scale must be"),
        (lambda: TrainCrop(8, ratio=(0.0, 1.0)), "ratio must be"),
        (lambda: TrainCrop(8, flip=1.5), "flip is a probability"),
        (lambda: TrainCrop(8, blur=-0.1), "blur is a probability"),
        (lambda: TrainCrop(8, color=3.0), "color must lie in"),
        (lambda: EvalCrop(8, 7), r"resize \(7\) must be at least size \(8\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()

# SPDX-License-Identifier: Apache-2.0
"""One view: each step happens at its probability, sizes and types are kept, guards speak."""

import pickle

import pytest
import torch

from conjoin.core import random
from conjoin.vision.transforms import Augment

OFF = {"flip": 0.0, "jitter_p": 0.0, "gray": 0.0, "blur": 0.0}


def picture(channels=3):
    return torch.randint(
        0, 256, (channels, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def share(view, happened, count=200):
    found = 0
    for number in range(count):
        with random.seeded(number):
            found += bool(happened(view(picture())))
    return found / count


@pytest.mark.parametrize("channels", [1, 3])
def test_size_type_and_channels(channels):
    out = Augment(16, solarize=1.0)(picture(channels))
    assert out.shape == (channels, 16, 16)
    assert out.dtype == torch.uint8


def test_drawn_from_the_global_generators_alone():
    view = Augment(16)
    with random.seeded(3):
        first = view(picture())
    with random.seeded(3):
        assert torch.equal(view(picture()), first)
    with random.seeded(4):
        assert not torch.equal(view(picture()), first)


def test_gray_and_its_probability():
    def gray(x):
        return torch.equal(x[0], x[1]) and torch.equal(x[1], x[2])

    assert share(Augment(8, **OFF | {"gray": 0.3}), gray) == pytest.approx(0.3, abs=0.1)
    assert share(Augment(8, **OFF), gray, 20) == 0


def test_solarisation_inverts_bright_values_only():
    whole = {"scale": (1.0, 1.0), "ratio": (0.75, 0.75)}
    plain, sun = (Augment(24, **whole, **OFF, solarize=p)(picture()) for p in (0.0, 1.0))
    assert torch.equal(sun, torch.where(plain >= 128, 255 - plain, plain))


def test_blur_smooths():
    whole = {"scale": (1.0, 1.0), "ratio": (0.75, 0.75), "sigma": (2.0, 2.0)}
    plain, soft = (Augment(24, **whole, **OFF | {"blur": p})(picture()).float() for p in (0.0, 1.0))
    assert soft.diff(dim=2).abs().mean() < 0.3 * plain.diff(dim=2).abs().mean()


def test_crops_keep_their_share_of_the_area():
    ramp = torch.arange(200, dtype=torch.uint8).expand(3, 200, 200)
    view = Augment(20, (0.25, 0.25), (1.0, 1.0), **OFF, bicubic=False)
    with random.seeded(0):
        out = view(ramp).float()
    assert out[0, 0].diff().mean().item() == pytest.approx(5, abs=0.3)  # 100 cells on 20


def test_workers_can_have_it():
    view = Augment(16)
    assert view(picture()).shape == (3, 16, 16)  # its chain is built
    assert pickle.loads(pickle.dumps(view)) == view


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size must be at least 1 pixel, not 0"),
        ({"scale": (0.0, 1.0)}, "scale must be two ascending shares"),
        ({"ratio": (2.0, 1.0)}, "ratio must be two ascending positive numbers"),
        ({"blur": 1.5}, r"blur is a probability in \[0, 1\], not 1.5"),
        ({"jitter": (0.4, 0.4, 0.4, 0.6)}, "its hue at most half a turn"),
        ({"sigma": (0.0, 1.0)}, "sigma must be two ascending positive"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        Augment(**{"size": 8} | options)


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [10, 40])
def test_a_frame_says_where_each_cell_lies(size, flip):
    """Pictures whose red is the row and whose green is the column."""
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(90), indexing="ij")
    x = torch.stack((rows, columns, torch.zeros_like(rows))).to(torch.uint8)
    augment = Augment(size, (0.1, 0.5), flip=flip, jitter=(0, 0, 0, 0), gray=0, blur=0, bicubic=False)
    for seed in range(5):
        torch.manual_seed(seed)
        view, frame = augment.framed(x)
        torch.manual_seed(seed)
        assert torch.equal(augment(x), view)
        cells = torch.arange(size)
        assert (frame[1, 1] < 0) == (flip == 1)
        found = view.float()[:2, 2:-2, 2:-2]  # at the rim resampling mixes what lies further in
        expected = torch.meshgrid(*(start + step * cells for start, step in frame), indexing="ij")
        for axis in range(2):
            assert (found[axis] - expected[axis][2:-2, 2:-2]).abs().max() < 1.1  # values are whole numbers

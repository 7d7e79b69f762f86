# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.biosignal.transforms import CenterCrop, EvalWindows, RandomCrop, windows
from conjoin.core import random


def test_random_crops_reach_both_ends_and_follow_the_seed():
    x = torch.arange(12.0).expand(2, 12)
    starts = set()
    for number in range(100):
        with random.seeded(number):
            crop = RandomCrop(8)(x)
        assert crop.shape == (2, 8)
        assert (crop.diff(dim=1) == 1).all()
        starts.add(int(crop[0, 0]))
        with random.seeded(number):
            assert torch.equal(RandomCrop(8)(x), crop)
    assert starts == {0, 1, 2, 3, 4}
    assert torch.equal(RandomCrop(12)(x), x)


def test_half_precision_comes_out_whole():
    x = torch.arange(9.0)[None].half()
    assert RandomCrop(3)(x).dtype == CenterCrop(3)(x).dtype == torch.float32


def test_centre():
    assert CenterCrop(3)(torch.arange(9.0)[None])[0].tolist() == [3, 4, 5]
    assert repr(CenterCrop(3)) == "CenterCrop(3)"


def test_seven_windows_of_a_record():
    x = torch.arange(5000.0).expand(1, 2, 5000)
    cut = windows(x, 1250, 625)
    assert cut.shape == (1, 7, 2, 1250)
    for number in range(7):
        assert torch.equal(cut[0, number], x[0, :, 625 * number : 625 * number + 1250])


def test_windows_of_an_evaluation_lie_about_the_middle():
    x = torch.arange(5000.0).half()[None]
    looks = EvalWindows(1250)(x)
    assert torch.equal(looks.looks, windows(x.float()[None], 1250, 625)[0])
    assert torch.equal(looks.x, CenterCrop(1250)(x))
    assert looks.looks.dtype == torch.float32
    short = torch.arange(11.0)[None]
    assert EvalWindows(4)(short).looks[:, 0, 0].tolist() == [0, 2, 4, 6]  # 7 to spare: one left over
    assert EvalWindows(4, 5)(short).looks[:, 0, 0].tolist() == [1, 6]
    for cut in (EvalWindows(4, 8), EvalWindows(11)):
        assert torch.equal(cut(short), CenterCrop(cut.size)(short))
    assert EvalWindows(1)(short).looks.shape == (11, 1, 1)
    assert repr(EvalWindows(4)) == "EvalWindows(4, stride=2)"


def test_guards():
    with pytest.raises(ValueError, match="at least one sample apart, not 0"):
        EvalWindows(4, 0)
    with pytest.raises(ValueError, match="at least one sample, not 0"):
        RandomCrop(0)
    for crop in (RandomCrop(5), CenterCrop(5), EvalWindows(5)):
        with pytest.raises(ValueError, match="crop of 5 samples does not fit in a recording of 4"):
            crop(torch.zeros(1, 4))
    for size, stride in ((0, 1), (5, 1), (2, 0)):
        with pytest.raises(ValueError, match=f"Windows of {size} samples every {stride} cannot be cut"):
            windows(torch.zeros(1, 1, 4), size, stride)

# SPDX-License-Identifier: Apache-2.0
"""Where crops and windows lie, measured on pictures of coordinates."""

import pytest
import torch

from conjoin.core import random
from conjoin.core.transforms import Crop, Flip, Window

MANY = random.fold(7, torch.arange(3000))


def boxes(crop, length):
    """Extents that a crop of a square picture keeps, from the slopes of two coordinate planes."""
    line = torch.arange(float(length))
    x = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(MANY), 2, length, length)
    out = crop(x, MANY)
    middle = slice(length // 2 - 2, length // 2 + 2)  # away from the border, where clipping bends the line
    rows = out[:, 0, middle, length // 2].diff(dim=1).mean(1) * length
    columns = out[:, 1, length // 2, middle].diff(dim=1).mean(1) * length
    return rows, columns, out


def test_areas_and_shapes_are_uniform_in_their_ranges():
    rows, columns, out = boxes(Crop((0.2, 0.6), (0.5, 2.0)), 32)
    area = rows * columns / 32**2
    assert 0.17 < area.min() < 0.23
    assert 0.55 < area.max() < 0.63
    assert area.mean().item() == pytest.approx(0.4, abs=0.02)
    ratio = (columns / rows).log2()
    assert ratio.mean().item() == pytest.approx(0, abs=0.06)
    assert -1.25 < ratio.min() < -0.9
    assert 0.9 < ratio.max() < 1.25
    assert out.min() >= 0
    assert out.max() <= 31


def test_every_cell_is_seen():
    _, _, out = boxes(Crop((0.05, 0.2)), 16)
    assert out[:, 0].min() == 0
    assert out[:, 0].max() == 15
    assert out[:, 0].mean().item() == pytest.approx(7.5, abs=0.2)


def test_a_signal_keeps_a_share_of_its_length():
    x = torch.arange(100.0).expand(len(MANY), 1, 100)
    out = Crop((0.3, 0.5))(x, MANY)
    kept = out[:, 0, 60] - out[:, 0, 40]
    assert kept.min() > 5.5
    assert kept.max() < 10.5
    assert kept.mean().item() == pytest.approx(8, abs=0.2)


def test_the_whole_picture_stays_itself():
    x = torch.randn(5, 3, 9, 9)
    assert torch.equal(Crop((1.0, 1.0), (1.0, 1.0))(x, MANY[:5]), x)


def test_sizes():
    x = torch.randn(2, 1, 10, 14)
    assert Crop(size=6)(x, MANY[:2]).shape == (2, 1, 6, 6)
    assert Crop()(x, MANY[:2]).shape == x.shape
    assert Crop(size=5)(torch.randn(2, 1, 8, 8, 8), MANY[:2]).shape == (2, 1, 5, 5, 5)


def test_windows_are_stretches_at_all_places():
    x = torch.arange(20.0).expand(len(MANY), 2, 20)
    out = Window(15)(x, MANY)
    assert out.shape == (len(MANY), 2, 15)
    assert (out.diff(dim=-1) == 1).all()
    assert set(out[:, 0, 0].tolist()) == set(range(6))
    assert torch.equal(out[:, 0], out[:, 1])


def test_half_of_all_pictures_are_flipped_along_the_axis():
    x = torch.randn(len(MANY), 1, 3, 4)
    for axis in (-1, -2):
        out = Flip(0.5, axis)(x, MANY)
        turned = (out == x.flip(axis)).flatten(1).all(1)
        assert ((out == x).flatten(1).all(1) | turned).all()
        assert turned.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_refusals():
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        Crop(size=0)
    with pytest.raises(ValueError, match="ratio must be two ascending numbers"):
        Crop(ratio=(2.0, 1.0))
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        Window(0)
    with pytest.raises(ValueError, match="A window of 9 does not fit in a signal of 8"):
        Window(9)(torch.zeros(1, 1, 8), MANY[:1])

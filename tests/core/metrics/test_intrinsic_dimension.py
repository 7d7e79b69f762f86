# SPDX-License-Identifier: Apache-2.0
"""TwoNN on sets of known dimension, and against a sort of all distances."""

import math

import numpy as np
import pytest
import torch

from conjoin.core.metrics import intrinsic_dimension, rows


def cube(dimension: int, width: int, count: int) -> torch.Tensor:
    """A cube in a random subspace."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(width, dimension, dtype=torch.float64, generator=generator)).Q
    return torch.rand(count, dimension, dtype=torch.float64, generator=generator) @ axes.T


def test_of_a_cube_in_a_larger_space() -> None:
    assert float(intrinsic_dimension(cube(5, 15, 2000))) == pytest.approx(4.88, abs=0.25)
    assert float(intrinsic_dimension(cube(2, 15, 2000))) == pytest.approx(2, abs=0.12)


def test_does_not_see_scale_place_and_order() -> None:
    z = cube(3, 7, 300)
    shuffled = z[torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    expected = float(intrinsic_dimension(z))
    assert float(intrinsic_dimension(1e-3 * shuffled + 5)) == pytest.approx(expected, rel=1e-6)


def test_equals_the_sort_of_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    distance = np.sort([[math.dist(a, b) for b in z.tolist()] for a in z.tolist()], axis=1)
    ratio = np.sort(distance[:, 2] / distance[:, 1])[:54]
    x, y = np.log(ratio), -np.log(1 - np.arange(1, 55) / 60)
    slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
    assert float(intrinsic_dimension(z)) == pytest.approx(slope, rel=1e-9)
    monkeypatch.setattr(rows, "BLOCK", 60 * 7)  # seven rows at a time
    assert float(intrinsic_dimension(z)) == pytest.approx(slope, rel=1e-9)


def test_copies_say_nothing() -> None:
    z = cube(3, 7, 300).float()
    copied = torch.cat((z, z[:1], z[:1]))
    assert float(intrinsic_dimension(copied)) == pytest.approx(float(intrinsic_dimension(z)), rel=0.02)
    assert math.isnan(float(intrinsic_dimension(torch.ones(20, 3))))


def test_guards() -> None:
    with pytest.raises(ValueError, match="at least 3 embeddings, got 2"):
        intrinsic_dimension(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"keep must lie in \(0, 1\), got 1"):
        intrinsic_dimension(torch.zeros(5, 3), keep=1)

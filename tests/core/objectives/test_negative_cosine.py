# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import BYOL, SimSiam, negative_cosine


def squared_distance(q, t):
    """Of unit rows, in Python floats."""
    total = 0.0
    for a, b in zip(q.tolist(), t.tolist(), strict=True):
        na, nb = math.hypot(*a), math.hypot(*b)
        total += sum((x / na - y / nb) ** 2 for x, y in zip(a, b, strict=True))
    return total / len(q)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e8])
def test_equals_loops(scale):
    g = torch.Generator().manual_seed(0)
    q, t = (torch.randn(2, 2, 5, 4, dtype=torch.float64, generator=g) * scale).unbind(0)
    both = squared_distance(q[0], t[1]) + squared_distance(q[1], t[0])
    assert BYOL()(q, t).loss.item() == pytest.approx(both, rel=1e-9)
    assert SimSiam()(q, t).loss.item() == pytest.approx(both / 4 - 1, rel=1e-9)
    assert BYOL()(q[0], t[1]).loss.item() == pytest.approx(squared_distance(q[0], t[1]), rel=1e-9)


def test_range():
    q = torch.randn(2, 3, 4, dtype=torch.float64).roll(0)
    same = q[:1].expand(2, 3, 4)
    assert BYOL()(same, 3 * same).loss.item() == pytest.approx(0, abs=1e-12)
    assert BYOL()(same, -same).loss.item() == pytest.approx(8)
    assert SimSiam()(same, same).loss.item() == pytest.approx(-1)
    assert negative_cosine(q[0], torch.zeros(3, 4)).item() == 0


def test_three_views():
    """BYOL is twice the mean over directions, SimSiam their mean."""
    z = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mean = sum(negative_cosine(z[i], z[j]) for i in range(3) for j in range(2) if i != j) / 4
    torch.testing.assert_close(SimSiam()(z, z[:2]).loss, mean)
    torch.testing.assert_close(BYOL()(z, z[:2]).loss, 2 * (2 + 2 * mean))

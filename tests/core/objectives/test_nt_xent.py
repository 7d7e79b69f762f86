# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import NTXent, nt_xent


def cosine(a, b):
    norms = [max(math.sqrt(sum(x * x for x in v)), 1e-6) for v in (a, b)]
    return sum(x * y for x, y in zip(a, b, strict=True)) / norms[0] / norms[1]


def loop(a, b, temperature):
    """The paper's mean over 2N rows, in Python floats."""
    rows, total = [*a.tolist(), *b.tolist()], 0.0
    count = len(a)
    for i, row in enumerate(rows):
        partner = (i + count) % (2 * count)
        others = [math.exp(cosine(row, rows[j]) / temperature) for j in range(2 * count) if j != i]
        total += math.log(sum(others)) - cosine(row, rows[partner]) / temperature
    return total / (2 * count)


def pair(scale=1.0, rows=5):
    g = torch.Generator().manual_seed(0)
    return (torch.randn(2, rows, 4, dtype=torch.float64, generator=g) * scale).unbind(0)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_equals_loops(temperature, scale):
    a, b = pair(scale)
    assert nt_xent([a, b], temperature, "mean").item() == pytest.approx(loop(a, b, temperature), rel=1e-12)
    assert nt_xent([a, b], temperature).item() == pytest.approx(2 * loop(a, b, temperature), rel=1e-12)


def test_known_values():
    eye = torch.eye(2, dtype=torch.float64)
    assert NTXent(1.0)(eye, eye).loss.item() == pytest.approx(2 * math.log((math.e + 2) / math.e))
    equal = torch.ones(4, 3, dtype=torch.float64)
    for temperature in (0.1, 3.0):
        assert NTXent(temperature)(equal, equal).loss.item() == pytest.approx(2 * math.log(7))
    zeros = torch.zeros(4, 3, dtype=torch.float64)
    assert NTXent()(zeros, zeros).loss.item() == pytest.approx(2 * math.log(7))


def test_more_views_are_the_mean_over_pairs():
    a, b = pair()
    c = a.roll(1, 0) * 2
    wanted = sum(NTXent()(x, y).loss for x, y in ((a, b), (a, c), (b, c))) / 3
    torch.testing.assert_close(NTXent()(a, b, c).loss, wanted)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"directions": "both"}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        NTXent(**options)

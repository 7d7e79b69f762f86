# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import BarlowTwins

SQUARE = torch.tensor([[1, 1], [-1, -1], [1, -1], [-1, 1]], dtype=torch.float64)
LINE = torch.tensor([[1, 1], [-1, -1], [1, 1], [-1, -1]], dtype=torch.float64)


def loop(a, b, weight, eps=1e-5):
    def columns(z):
        result = []
        for column in z.T.tolist():
            mean = sum(column) / len(column)
            var = sum((v - mean) ** 2 for v in column) / len(column)
            result.append([(v - mean) / math.sqrt(var + eps) for v in column])
        return result

    total = 0.0
    for d, x in enumerate(columns(a)):
        for e, y in enumerate(columns(b)):
            c = sum(v * w for v, w in zip(x, y, strict=True)) / len(x)
            total += (c - 1) ** 2 if d == e else weight * c * c
    return total


@pytest.mark.parametrize(("rows", "dim"), [(3, 9), (12, 4)])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-3, 0.0), (1e4, 1e3)])
def test_equals_loops(rows, dim, scale, shift):
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, rows, dim, dtype=torch.float64, generator=g) * scale + shift).unbind(0)
    out = BarlowTwins(0.02)(a, b)
    assert out.loss.item() == pytest.approx(loop(a, b, 0.02), rel=1e-9)
    torch.testing.assert_close(sum(out.terms.values()), out.loss)
    assert BarlowTwins(0.02, scale=0.1)(a, b).loss.item() == pytest.approx(0.1 * out.loss.item())


def test_known_values():
    assert BarlowTwins()(SQUARE, SQUARE).loss.item() == pytest.approx(2e-10, rel=1e-3)
    assert BarlowTwins()(SQUARE, -SQUARE).loss.item() == pytest.approx(7.99992)
    assert BarlowTwins()(LINE, LINE).loss.item() == pytest.approx(0.0101998)


def test_constant_columns_cost_one_each():
    z = torch.ones(4, 3, dtype=torch.float64)
    assert BarlowTwins()(z, z).loss.item() == pytest.approx(3)


@pytest.mark.parametrize("options", [{"redundancy": -1.0}, {"scale": 0.0}, {"eps": 0.0}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        BarlowTwins(**options)


@pytest.mark.parametrize("rows", [2, 9, 40], ids=["by rows", "between", "by columns"])
def test_gradient_of_columns_far_from_zero(rows):
    g = torch.Generator().manual_seed(0)
    a = torch.randn(rows, 6, dtype=torch.float64, generator=g) * 3 + 50
    b = a + torch.randn(rows, 6, dtype=torch.float64, generator=g)
    assert torch.autograd.gradcheck(
        lambda a, b: BarlowTwins(redundancy=0.7, scale=2)(a, b).loss, (a.requires_grad_(), b.requires_grad_())
    )


def test_one_sample_has_no_correlation():
    with pytest.raises(ValueError, match="at least 2 samples"):
        BarlowTwins()(torch.ones(1, 6), torch.ones(1, 6))

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.core.objectives import VICReg

SQUARE = torch.tensor([[1, 1], [-1, -1], [1, -1], [-1, 1]], dtype=torch.float64)
LINE = torch.tensor([[1, 1], [-1, -1], [1, 1], [-1, -1]], dtype=torch.float64)


def reference(a, b, weights=(25, 25, 1)):
    a, b = a.numpy(), b.numpy()
    invariance = np.mean((a - b) ** 2)
    variance = covariance = 0.0
    for z in (a, b):
        c = np.cov(z, rowvar=False, ddof=1)
        variance += sum(max(0, 1 - np.sqrt(c[d, d] + 1e-4)) for d in range(len(c))) / len(c) / 2
        covariance += sum(c[d, e] ** 2 for d in range(len(c)) for e in range(len(c)) if d != e) / len(c)
    return weights[0] * invariance, weights[1] * variance, weights[2] * covariance


@pytest.mark.parametrize(("rows", "dim"), [(2, 5), (4, 9), (12, 4)])
@pytest.mark.parametrize(("scale", "shift"), [(0.3, 0.0), (1e-4, 5.0), (1e4, -1e3)])
def test_equals_numpy(rows, dim, scale, shift):
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, rows, dim, dtype=torch.float64, generator=g) * scale + shift).unbind(0)
    out = VICReg()(a, b)
    wanted = reference(a, b)
    for name, value in zip(("invariance", "variance", "covariance"), wanted, strict=True):
        assert out.terms[name].item() == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert out.loss.item() == pytest.approx(sum(wanted), rel=1e-9)


def test_known_values():
    ones = torch.ones(4, 2, dtype=torch.float64)
    assert VICReg()(ones, ones).loss.item() == pytest.approx(24.75)
    assert VICReg()(LINE, LINE).loss.item() == pytest.approx(3.5555556)
    assert VICReg()(LINE, -LINE).loss.item() == pytest.approx(103.5555556)
    assert VICReg()(SQUARE, SQUARE).loss.item() == pytest.approx(0, abs=1e-12)


def test_more_views_are_the_mean_over_pairs():
    z = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = sum(VICReg()(z[i], z[j]).loss for i, j in ((0, 1), (0, 2), (1, 2))) / 3
    torch.testing.assert_close(VICReg()(z).loss, wanted)


def test_guards():
    with pytest.raises(ValueError, match="at least 2 samples"):
        VICReg()(torch.ones(1, 3), torch.ones(1, 3))
    for options in ({"invariance": -1.0}, {"variance": -1.0}, {"covariance": -1.0}, {"eps": 0.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            VICReg(**options)

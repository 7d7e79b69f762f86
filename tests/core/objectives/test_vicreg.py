# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.core.objectives import VICReg
from conjoin.core.objectives.vicreg import spread

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


@pytest.mark.parametrize(("rows", "dim"), [(9, 4), (6, 6), (5, 8)])
def test_spread_is_that_of_the_covariance(rows, dim):
    generator = torch.Generator().manual_seed(rows)
    # Some columns are wider than one, where the hinge is flat.
    scale = torch.linspace(0.3, 1.8, dim, dtype=torch.float64)
    z = torch.randn(3, rows, dim, dtype=torch.float64, generator=generator) * scale + 2
    hinges, energies = spread(z.requires_grad_(), rows)
    for view, hinge, energy in zip(z.detach(), hinges, energies, strict=True):
        covariance = np.cov(view.numpy().T)
        deviation = np.sqrt(np.diag(covariance) + 1e-4)
        assert hinge.item() == pytest.approx(np.maximum(0, 1 - deviation).mean(), rel=1e-12)
        off = covariance - np.diag(np.diag(covariance))
        assert energy.item() == pytest.approx((off**2).sum() / dim, rel=1e-12)
    assert torch.autograd.gradcheck(lambda z: spread(z, rows), (z,))


def test_covariance_is_all_that_waits_for_the_backward_pass():
    z = torch.randn(64, 16, requires_grad=True)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        spread(z, 64)
    assert sum(t.numel() for place, t in kept.items() if place != z.data_ptr()) == 16 * 16 + 2 * 16

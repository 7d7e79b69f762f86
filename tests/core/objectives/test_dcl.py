# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.nn.functional import normalize

from conjoin.core.objectives import DCL


def loop(a, b, temperature, sigma=None):
    rows = normalize(torch.cat((a, b)), dim=1).tolist()
    count, total = len(a), 0.0

    def dot(i, j):
        return sum(x * y for x, y in zip(rows[i], rows[j], strict=True))

    mean = sum(math.exp(dot(i, i + count) / sigma) for i in range(count)) / count if sigma else 1
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        weight = 2 - math.exp(dot(i, partner) / sigma) / mean if sigma else 1
        negatives = [math.exp(dot(i, j) / temperature) for j in range(2 * count) if j not in (i, partner)]
        total += math.log(sum(negatives)) - weight * dot(i, partner) / temperature
    return total / count


@pytest.mark.parametrize("sigma", [None, 0.5])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_loops(sigma, temperature):
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 5, 4, dtype=torch.float64, generator=g) * 100).unbind(0)
    found = DCL(temperature, weight_sigma=sigma)(a, b).loss
    assert found.item() == pytest.approx(loop(a, b, temperature, sigma), rel=1e-12)
    half = DCL(temperature, "mean", sigma)(a, b).loss
    torch.testing.assert_close(2 * half, found)


def test_weights_get_no_gradient():
    """With the weights held at their values the gradient is the same."""
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 4, 3, dtype=torch.float64, generator=g).unbind(0)
    a.requires_grad_()
    (found,) = torch.autograd.grad(DCL(1.0, weight_sigma=0.5)(a, b).loss, a)
    positive = (normalize(a, dim=1) * normalize(b, dim=1)).sum(1)
    share = (positive / 0.5).exp().detach()
    extra = 2 * (positive * (share / share.mean() - 1)).mean()
    (wanted,) = torch.autograd.grad(DCL(1.0)(a, b).loss + extra, a)
    torch.testing.assert_close(found, wanted)


def test_one_sample_has_no_negatives():
    with pytest.raises(ValueError, match="at least 2 samples"):
        DCL()(torch.ones(1, 3), torch.ones(1, 3))


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"directions": "x"}, {"weight_sigma": 0.0}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DCL(**options)

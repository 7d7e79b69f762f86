# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.nn import functional as F

from conjoin.core.objectives import CLIP, InfoNCE


def pair(scale=1.0):
    g = torch.Generator().manual_seed(0)
    return (torch.randn(2, 5, 4, dtype=torch.float64, generator=g) * scale).unbind(0)


def loop(a, b, scale):
    a, b, total = F.normalize(a, dim=1).tolist(), F.normalize(b, dim=1).tolist(), 0.0
    for i, row in enumerate(a):
        scores = [scale * sum(x * y for x, y in zip(row, other, strict=True)) for other in b]
        total += math.log(sum(math.exp(s - scores[i]) for s in scores))
    return total / len(a)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e8])
def test_equals_loops(scale):
    a, b = pair(scale)
    one = InfoNCE(0.1, symmetric=False)(a, b).loss.item()
    assert one == pytest.approx(loop(a, b, 10), rel=1e-12)
    both = InfoNCE(0.1)(a, b).loss.item()
    assert both == pytest.approx((loop(a, b, 10) + loop(b, a, 10)) / 2, rel=1e-12)


def test_two_orthogonal_pairs():
    eye = torch.eye(2, dtype=torch.float64)
    assert InfoNCE(0.05)(eye, eye).loss.item() == pytest.approx(math.log1p(math.exp(-20)))


def test_clip_learns_its_temperature():
    a, b = pair()
    objective = CLIP().double()
    assert objective(a, b).loss.item() == pytest.approx((loop(a, b, 1 / 0.07) + loop(b, a, 1 / 0.07)) / 2)

    def value(log_scale):
        return (loop(a, b, math.exp(log_scale)) + loop(b, a, math.exp(log_scale))) / 2

    out = objective(a, b)
    out.loss.backward()
    at = objective.log_scale.item()
    slope = (value(at + 1e-5) - value(at - 1e-5)) / 2e-5
    assert objective.log_scale.grad.item() == pytest.approx(slope, rel=1e-6)
    assert out.terms["temperature"].item() == pytest.approx(0.07)


def test_clip_keeps_its_scale_below_the_maximum():
    a, b = pair()
    objective = CLIP(max_scale=20.0).double()
    with torch.no_grad():
        objective.log_scale.fill_(10.0)
    out = objective(a, b)
    assert out.terms["temperature"].item() == pytest.approx(1 / 20)
    assert objective.log_scale.item() == pytest.approx(math.log(20))
    out.loss.backward()
    assert objective.log_scale.grad.item() != 0, "it can come down again"


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="temperature must be positive"):
        InfoNCE(0.0)
    with pytest.raises(ValueError, match="max_scale must be at least"):
        CLIP(temperature=0.01, max_scale=50)

# SPDX-License-Identifier: Apache-2.0
"""Alignment by hand, by a loop and over ranks."""

import math
from typing import Any

import pytest
import torch
from torchmetrics import MetricCollection

from conjoin.core.metrics import Alignment, alignment


def views(samples: int = 23, count: int = 3) -> torch.Tensor:
    return torch.randn(samples, count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_by_hand() -> None:
    right = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])  # at a right angle, lengths do not matter
    assert float(alignment(right)) == pytest.approx(2)
    assert float(alignment(right, alpha=1)) == pytest.approx(math.sqrt(2))
    opposite = torch.tensor([[[1.0, 0.0], [-5.0, 0.0]]])
    assert float(alignment(torch.cat((right, opposite)))) == pytest.approx((2 + 4) / 2)
    assert float(alignment(torch.ones(4, 3, 6))) == 0


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_equals_a_loop_over_pairs(alpha: float) -> None:
    e = views().tolist()
    terms = []
    for sample in e:
        for i in range(3):
            for j in range(i):
                one, other = sample[i], sample[j]
                a, b = math.hypot(*one), math.hypot(*other)
                square = sum((x / a - y / b) ** 2 for x, y in zip(one, other, strict=True))
                terms.append(math.sqrt(square) ** alpha)
    assert float(alignment(views(), alpha)) == pytest.approx(sum(terms) / len(terms), rel=1e-12)
    metric = Alignment(alpha)
    for part in views().split([4, 19]):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_guards() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        alignment(torch.zeros(3, 1, 2))
    with pytest.raises(ValueError, match="at least one sample, got none"):
        alignment(torch.zeros(0, 2, 2))
    with pytest.raises(ValueError, match="alpha must be positive, got 0"):
        Alignment(0)
    metric = Alignment()
    metric.update(torch.zeros(0, 2, 2))
    with pytest.raises(ValueError, match="has seen no views"):
        metric.compute()


def test_a_collection_tells_powers_apart() -> None:
    found = MetricCollection({"one": Alignment(1), "two": Alignment(2)})
    found.update(torch.ones(4, 3, 5))  # at distance 0, whatever the power
    found.update(views())
    values = found.compute()
    for name, power in (("one", 1.0), ("two", 2.0)):
        expected = 23 / 27 * alignment(views(), power)
        torch.testing.assert_close(values[name], expected)


def one_rank_without_views(rank: int, world: int) -> torch.Tensor:
    metric = Alignment()
    if rank == 1:
        metric.update(views())
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_a_rank_without_views_adds_nothing(ddp: Any) -> None:
    for value in ddp(one_rank_without_views):
        torch.testing.assert_close(value, alignment(views()))


def two_ranks(rank: int, world: int) -> torch.Tensor:
    metric = Alignment()
    metric.update(views()[:15] if rank == 0 else views()[15:])
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for value in ddp(two_ranks):
        torch.testing.assert_close(value, alignment(views()), rtol=0, atol=1e-10)

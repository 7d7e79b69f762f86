# SPDX-License-Identifier: Apache-2.0
"""Uniformity by hand, by a loop, in the limit of many dimensions and over ranks."""

import math
from typing import Any

import pytest
import torch

from conjoin.core.metrics import Uniformity, rows, uniformity


def embeddings(count: int = 31) -> torch.Tensor:
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_by_hand() -> None:
    assert float(uniformity(torch.ones(9, 3))) == pytest.approx(0, abs=1e-12)
    assert float(uniformity(torch.zeros(9, 3))) == pytest.approx(0, abs=1e-12)  # dead
    assert float(uniformity(torch.full((9, 3), 1e-30))) == pytest.approx(0, abs=1e-12)
    cross = torch.tensor([[1.0, 0], [0, 2], [-3, 0], [0, -4]])
    # Of six pairs, four are at a right angle and two opposite.
    expected = math.log((4 * math.exp(-2 * 2) + 2 * math.exp(-2 * 4)) / 6)
    assert float(uniformity(cross)) == pytest.approx(expected)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_equals_a_loop_over_pairs(t: float) -> None:
    unit = [[x / math.hypot(*row) for x in row] for row in embeddings().tolist()]
    terms = [math.exp(-t * math.dist(unit[i], unit[j]) ** 2) for i in range(len(unit)) for j in range(i)]
    expected = math.log(sum(terms) / len(terms))
    assert float(uniformity(embeddings(), t)) == pytest.approx(expected, rel=1e-12)
    metric = Uniformity(t)
    for part in embeddings().split([7, 24]):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-12)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = uniformity(embeddings())
    monkeypatch.setattr(rows, "BLOCK", 100)  # 3 rows at a time
    torch.testing.assert_close(uniformity(embeddings()), whole, rtol=1e-12, atol=0)


def test_limits() -> None:
    z = torch.randn(400, 2000, generator=torch.Generator().manual_seed(1))
    assert float(uniformity(z)) == pytest.approx(-4, abs=0.05)
    # exp(-t * 4) is below the smallest double: the logarithm is not.
    assert float(uniformity(torch.tensor([[1.0], [-1.0]]), t=500)) == pytest.approx(-2000)


def test_repeats_of_numbered_samples_count_once() -> None:
    metric = Uniformity()
    metric.update(embeddings(), torch.arange(31))
    metric.update(embeddings()[:5], torch.arange(5))
    torch.testing.assert_close(metric.compute(), uniformity(embeddings()))


def test_guards() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(ValueError, match="t must be positive, got -1"):
        Uniformity(-1)


def two_ranks(rank: int, world: int) -> torch.Tensor:
    metric = Uniformity()
    metric.update(embeddings()[:20] if rank == 0 else embeddings()[20:])
    return metric.compute()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for value in ddp(two_ranks):
        torch.testing.assert_close(value, uniformity(embeddings()), rtol=0, atol=1e-10)

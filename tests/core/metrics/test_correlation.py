# SPDX-License-Identifier: Apache-2.0
"""Rank correlations against scipy, with ties and infinities, and by hand."""

import math

import pytest
import torch

from conjoin.core.metrics import kendall, spearman


def test_by_hand() -> None:
    a = torch.tensor([1.0, 2, 3, 4])
    assert float(spearman(a, a.exp())) == pytest.approx(1)
    assert float(kendall(a, -a)) == pytest.approx(-1)
    swapped = torch.tensor([1.0, 2, 4, 3])
    # One of six pairs is in the wrong order; squared rank differences add up to 2.
    assert float(kendall(a, swapped)) == pytest.approx((5 - 1) / 6)
    assert float(spearman(a, swapped)) == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_equals_scipy_with_ties() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        a = torch.randint(0, 6, (25,), generator=generator).double()
        b = (a + torch.randint(0, 8, (25,), generator=generator)).double()
        assert float(spearman(a, b)) == pytest.approx(stats.spearmanr(a, b)[0], rel=1e-12)
        assert float(kendall(a, b)) == pytest.approx(stats.kendalltau(a, b)[0], rel=1e-12)


def test_infinities_are_the_last_rank() -> None:
    b = torch.tensor([1.0, 3.0, 2.0, 5.0])
    for correlation in (spearman, kendall):
        finite = correlation(torch.tensor([1.0, 2.0, 9.0, 9.0]), b)
        assert float(correlation(torch.tensor([1.0, 2.0, math.inf, math.inf]), b)) == float(finite)


def test_nothing_to_order_is_nan_and_guards() -> None:
    assert math.isnan(float(spearman(torch.ones(3), torch.arange(3))))
    assert math.isnan(float(kendall(torch.ones(3), torch.arange(3))))
    for correlation in (spearman, kendall):
        spoiled = torch.tensor([1.0, math.nan, 3.0])
        assert math.isnan(float(correlation(spoiled, torch.arange(3))))
        assert math.isnan(float(correlation(torch.arange(3), spoiled)))
    for a, b in ((torch.ones(3), torch.ones(2)), (torch.ones(1), torch.ones(1)), (torch.ones(2, 2),) * 2):
        with pytest.raises(ValueError, match="two lists of at least 2 numbers"):
            spearman(a, b)

# SPDX-License-Identifier: Apache-2.0
"""Rows that are kept: order, repeats, types, and what is refused."""

import pytest
import torch
from torch import Tensor

from conjoin.core.metrics import RowMetric
from conjoin.core.metrics.rows import blocks, share_of


class Kept(RowMetric):
    """Gives the rows back."""

    def __init__(self, max_samples: int | None = None) -> None:
        super().__init__(max_samples)

    def update(self, z: Tensor, index: Tensor | None = None) -> None:
        self.keep(z, index)

    def compute(self) -> Tensor:
        return self.kept()


def rows(count: int = 6) -> Tensor:
    return torch.arange(2.0 * count).reshape(count, 2)


def test_numbered_rows_are_sorted_and_kept_once() -> None:
    metric = Kept()
    metric.update(rows()[[4, 1]], torch.tensor([4, 1]))
    metric.update(rows()[[0, 4, 2]], torch.tensor([0, 4, 2]))
    assert torch.equal(metric.compute(), rows()[[0, 1, 2, 4]].double())


def test_rows_without_numbers_are_all_kept() -> None:
    metric = Kept()
    metric.update(rows().bfloat16())
    metric.update(rows()[:2].double())
    assert metric.rows[0].dtype == torch.float32
    assert torch.equal(metric.compute(), torch.cat((rows(), rows()[:2])).double())


def test_maximum_counts_over_updates_and_finite_rows() -> None:
    metric = Kept(max_samples=4)
    spoiled = rows()
    spoiled[1, 0] = torch.inf
    with pytest.warns(UserWarning, match="1 of 6 embeddings are NaN or infinite"):
        metric.update(spoiled[:6])
    assert torch.equal(metric.compute(), rows()[[0, 2, 3, 4]].double())
    metric.update(rows())
    assert len(metric.compute()) == 4
    assert [share_of(None, 9, 3), share_of(10, 9, 3), share_of(10, 12, 3)] == [3, 1, 0]


def test_blocks_cover_all_rows() -> None:
    assert [place for part in blocks(5000) for place in range(5000)[part]] == list(range(5000))
    assert len(blocks(5000)) > 1


def test_guards() -> None:
    with pytest.raises(ValueError, match="max_samples must be at least 2 or None, got 1"):
        Kept(1)
    with pytest.raises(ValueError, match=r"shape \(N, K\), got \(3,\)"):
        Kept().update(torch.zeros(3))
    with pytest.raises(ValueError, match=r"6 embeddings need an index of as many, got \(5,\)"):
        Kept().update(rows(), torch.arange(5))
    with (
        pytest.raises(ValueError, match="Kept has seen no embeddings: call update first"),
        pytest.warns(UserWarning, match="before the ``update``"),
    ):
        Kept().compute()

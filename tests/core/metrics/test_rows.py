# SPDX-License-Identifier: Apache-2.0
"""Rows that are kept: order, repeats, types, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from conjoin.core.metrics import Coherence, RowMetric, Uniformity, coherence, uniformity
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


def test_forward_minds_the_maximum() -> None:
    metric = Kept(max_samples=4)
    for part in rows().split(2):
        assert torch.equal(metric(part), part.double())
    assert torch.equal(metric.compute(), rows()[:4].double())


def test_a_collection_tells_maxima_apart() -> None:
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    found = MetricCollection(
        {"coherence": Coherence(), "few": Uniformity(max_samples=20), "near": Uniformity(max_samples=21)}
    )
    for part in z.split(15):
        found.update(part)
    values = found.compute()
    torch.testing.assert_close(values["coherence"], coherence(z))
    torch.testing.assert_close(values["few"], uniformity(z[:20]))
    torch.testing.assert_close(values["near"], uniformity(z[:21]))


def test_merges_states() -> None:
    one, other = Kept(), Kept()
    one.update(rows()[:2])
    other.update(rows()[2:])
    one.merge_state(other)
    assert torch.equal(one.compute(), rows().double())


def one_rank_without_rows(rank: int, world: int) -> Tensor:
    metric = Kept()
    if rank == 1:
        metric.update(rows(), torch.arange(6))
    return metric.compute()


def ranks_that_differ(rank: int, world: int) -> str:
    metric = Kept()
    metric.update(rows(6)[:, : 2 - rank].to((torch.float32, torch.float64)[rank]))
    try:
        metric.compute()
    except ValueError as error:
        return str(error)
    return ""


def nobody_has_rows(rank: int, world: int) -> str:
    try:
        Kept().compute()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.ddp
@pytest.mark.slow
def test_ranks_without_rows_and_of_other_widths(ddp: Any) -> None:
    assert all(torch.equal(found, rows().double()) for found in ddp(one_rank_without_rows))
    assert all("of 2 and of 1 columns" in said for said in ddp(ranks_that_differ))
    assert all("has seen no embeddings" in said for said in ddp(nobody_has_rows))


def test_blocks_cover_all_rows() -> None:
    assert [place for part in blocks(5000) for place in range(5000)[part]] == list(range(5000))
    assert len(blocks(5000)) > 1


def test_guards() -> None:
    with pytest.raises(ValueError, match="max_samples must be at least 2 or None, got 1"):
        Kept(1)
    with pytest.raises(ValueError, match=r"shape \(N, K\), got \(3,\)"):
        Kept().update(torch.zeros(3))
    metric = Kept()
    metric.update(rows())
    with pytest.raises(ValueError, match="of 2 and of 1 columns cannot be measured together"):
        metric.update(rows()[:, :1])
    with pytest.raises(ValueError, match=r"6 embeddings need an index of as many, got \(5,\)"):
        Kept().update(rows(), torch.arange(5))
    with (
        pytest.raises(ValueError, match="Kept has seen no embeddings: call update first"),
        pytest.warns(UserWarning, match="before the ``update``"),
    ):
        Kept().compute()

# SPDX-License-Identifier: Apache-2.0
"""Streaming metrics: any order, any batches, any ranks give the value of all rows together."""

from typing import Any

import pytest
import torch
from torchmetrics import MetricCollection

from conjoin.core import metrics
from conjoin.core.metrics import AlphaReQ, EmbeddingEigenvalues, NESum, RankMe, SelfCluster, StableRank

FUNCTIONS: dict[str, Any] = {
    "RankMe": metrics.rankme,
    "StableRank": metrics.stable_rank,
    "NESum": metrics.nesum,
    "EmbeddingEigenvalues": metrics.embedding_eigenvalues,
    "AlphaReQ": lambda z: metrics.alpha_req(z).alpha,
    "SelfCluster": metrics.self_cluster,
}


def rows(count: int = 90, width: int = 12) -> torch.Tensor:
    z = torch.randn(count, width, generator=torch.Generator().manual_seed(5))
    return z * torch.linspace(0.2, 3, width) + 0.5


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stream_equals_function_in_any_order(name: str) -> None:
    z = rows()
    expected = FUNCTIONS[name](z)
    for order in (torch.arange(90), torch.arange(90).flip(0)):
        metric = getattr(metrics, name)()
        for part in z[order].split([7, 50, 33]):
            metric.update(part)
        torch.testing.assert_close(metric.compute(), expected, rtol=1e-7, atol=1e-9)


def test_fewer_rows_than_features() -> None:
    z = rows(5, 12)
    metric = RankMe()
    metric.update(z)
    torch.testing.assert_close(metric.compute(), metrics.rankme(z), rtol=1e-6, atol=0)


def test_rows_beyond_the_maximum_are_ignored() -> None:
    z = rows()
    metric = StableRank(max_samples=40)
    for part in z.split(16):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), metrics.stable_rank(z[:40]))
    everything = StableRank(max_samples=None)
    everything.update(z)
    torch.testing.assert_close(everything.compute(), metrics.stable_rank(z))


def test_forward_minds_the_maximum() -> None:
    metric = RankMe(max_samples=40)
    for part in rows().split(16):
        torch.testing.assert_close(metric(part), metrics.rankme(part))
    torch.testing.assert_close(metric.compute(), metrics.rankme(rows()[:40]))


def test_a_collection_tells_members_apart() -> None:
    members: dict[str, Any] = {
        "all": RankMe(),
        "few": RankMe(max_samples=20),
        "nesum": NESum(),
        "cluster": SelfCluster(),
    }
    found = MetricCollection(members)
    z = torch.cat((torch.nn.functional.normalize(rows()[:16], dim=1), rows()[16:]))  # unit length first
    for part in z.split(16):
        found.update(part)
    values = found.compute()
    assert sorted(map(sorted, found.compute_groups.values())) == [["all", "nesum"], ["cluster"], ["few"]]
    torch.testing.assert_close(values["all"], metrics.rankme(z), rtol=1e-6, atol=0)
    torch.testing.assert_close(values["few"], metrics.rankme(z[:20]), rtol=1e-6, atol=0)
    torch.testing.assert_close(values["nesum"], metrics.nesum(z))
    torch.testing.assert_close(values["cluster"], metrics.self_cluster(z))


def test_reset_and_forward() -> None:
    metric = NESum()
    metric.update(100 * rows())
    metric.reset()
    batch = metric(rows()[:50])
    torch.testing.assert_close(batch, metrics.nesum(rows()[:50]))
    metric(rows()[50:])
    torch.testing.assert_close(metric.compute(), metrics.nesum(rows()))


def test_alpha_req_reports_its_fit() -> None:
    metric = AlphaReQ(window=(2, 8))
    metric.update(rows())
    assert metric.fit().window == (2, 8)
    assert 0 < float(metric.fit().r2) <= 1


def test_guards() -> None:
    with pytest.raises(ValueError, match="max_samples must be at least 2 or None, got 1"):
        RankMe(max_samples=1)
    with (
        pytest.raises(ValueError, match="has seen no embeddings"),
        pytest.warns(UserWarning, match="before the ``update``"),
    ):
        RankMe().compute()
    with (
        pytest.raises(ValueError, match="SelfCluster has seen no embeddings"),
        pytest.warns(UserWarning, match="before the ``update``"),
    ):
        SelfCluster().compute()
    for width in (1, 8):
        metric = RankMe()
        metric.update(rows())
        with pytest.raises(ValueError, match=f"of 12 and of {width} columns cannot be measured together"):
            metric.update(rows()[:, :width])
    lonely = EmbeddingEigenvalues()
    lonely.update(rows(1))
    with pytest.raises(ValueError, match="at least 2 embeddings, got 1"):
        lonely.compute()


def two_ranks(rank: int, world: int) -> dict[str, torch.Tensor]:
    # Ranks with different numbers of rows: 60 and 30.
    mine = rows()[:60] if rank == 0 else rows()[60:]
    values = {}
    for name in FUNCTIONS:
        metric = getattr(metrics, name)()
        for part in mine.split(25):
            metric.update(part)
        values[name] = metric.compute()
    return values


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_give_the_value_of_all_rows(ddp: Any) -> None:
    for values in ddp(two_ranks):
        for name, value in values.items():
            torch.testing.assert_close(value, FUNCTIONS[name](rows()), rtol=0, atol=1e-10)


def test_self_cluster_of_a_dead_embedding() -> None:
    metric = SelfCluster()
    for part in torch.zeros(30, 4).split(8):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(1)


def test_self_cluster_metric_is_blind_to_lengths() -> None:
    metric = SelfCluster()
    metric.update(rows() * torch.linspace(1, 50, 90).unsqueeze(1))
    torch.testing.assert_close(metric.compute(), metrics.self_cluster(rows()))

# SPDX-License-Identifier: Apache-2.0
"""Moments add up as those of all rows, far from the origin, of equal rows, and of ranks without rows."""

from typing import Any

import pytest
import torch
from torch import Tensor

from conjoin.core import metrics
from conjoin.core.metrics import EmbeddingEigenvalues, LiDAR, NESum, RankMe, embedding_eigenvalues, lidar
from conjoin.core.metrics.moments import merged, moments


def rows(count: int = 60, width: int = 5) -> Tensor:
    z = torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return z * torch.linspace(0.3, 2, width)


def views(count: int = 60) -> Tensor:
    noise = torch.randn(count, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return rows(count).unsqueeze(1) + 0.3 * noise


def test_merged_moments_are_those_of_all_rows() -> None:
    z = rows() + 3
    parts = [moments(part, extra=part.sum()) for part in z.split([1, 40, 19])]
    whole = merged(merged(parts[0], parts[1]), parts[2])
    centred = z - z.mean(0)
    assert int(whole["count"]) == 60
    torch.testing.assert_close(whole["mean"], z.mean(0))
    torch.testing.assert_close(whole["scatter"], centred.T @ centred)
    torch.testing.assert_close(whole["extra"], z.sum())


def test_no_rows_add_nothing_and_widths_must_agree() -> None:
    state, none = moments(rows()), RankMe()._moments()
    assert merged(state, none) is state
    assert merged(none, state) is state
    with pytest.raises(ValueError, match="of 5 and of 4 columns cannot be measured together"):
        merged(state, moments(rows()[:, :4]))


@pytest.mark.parametrize(("origin", "scale"), [(1e4, 1e-3), (1e5, 1.0), (-1e8, 1e-2)])
def test_far_from_the_origin(origin: float, scale: float) -> None:
    z, e = origin + scale * rows(), origin + scale * views()
    metric, ratio, rank = EmbeddingEigenvalues(), NESum(), LiDAR()
    for part in torch.arange(60).split([7, 30, 23]):
        metric.update(z[part])
        ratio.update(z[part])
        rank.update(e[part])
    expected = scale**2 * torch.linalg.eigvalsh(rows().T.cov()).flip(0)
    torch.testing.assert_close(metric.compute(), embedding_eigenvalues(z), rtol=1e-6, atol=0)
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(ratio.compute(), metrics.nesum(z), rtol=1e-6, atol=0)
    torch.testing.assert_close(rank.compute(), lidar(e), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.1, 7.3, 1e4])
def test_equal_rows_have_no_variance(value: float) -> None:
    z = torch.full((50, 6), value) * torch.linspace(0.5, 1.7, 6)
    metric, ratio = EmbeddingEigenvalues(), NESum()
    for part in z.split(7):
        metric.update(part)
        ratio.update(part)
    assert not metric.compute().any()
    assert not embedding_eigenvalues(z).any()
    assert float(ratio.compute()) == float(metrics.nesum(z)) == 0
    rounded = z.double() * (1 + 1e-16 * torch.randint(-2, 3, (50, 1)))
    assert not embedding_eigenvalues(rounded).any()


def test_merges_states() -> None:
    one, other = RankMe(), RankMe()
    one.update(rows()[:20])
    other.update(rows()[20:])
    one.merge_state(other)
    torch.testing.assert_close(one.compute(), metrics.rankme(rows()))
    one.merge_state(RankMe())
    torch.testing.assert_close(one.compute(), metrics.rankme(rows()))
    with pytest.raises(ValueError, match="RankMe cannot take in the state of a LiDAR"):
        one.merge_state(LiDAR())


def one_rank_without_rows(rank: int, world: int) -> dict[str, Any]:
    found = {}
    for name in ("RankMe", "EmbeddingEigenvalues", "SelfCluster", "PseudoConditionNumber"):
        metric = getattr(metrics, name)()
        if rank == 1:
            metric.update(rows())
        found[name] = metric.compute()
    two = LiDAR()
    if rank == 1:
        two.update(views())
    found["LiDAR"] = two.compute()
    return found


def nobody_has_rows(rank: int, world: int) -> str:
    try:
        RankMe().compute()
    except ValueError as error:
        return str(error)
    return ""


def ranks_of_two_widths(rank: int, world: int) -> str:
    metric = RankMe()
    metric.update(rows()[:, : 4 + rank])
    try:
        metric.compute()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.ddp
@pytest.mark.slow
def test_a_rank_without_rows_adds_nothing(ddp: Any) -> None:
    for found in ddp(one_rank_without_rows):
        torch.testing.assert_close(found["RankMe"], metrics.rankme(rows()))
        torch.testing.assert_close(found["EmbeddingEigenvalues"], embedding_eigenvalues(rows()))
        torch.testing.assert_close(found["SelfCluster"], metrics.self_cluster(rows()))
        torch.testing.assert_close(found["PseudoConditionNumber"], metrics.pseudo_condition_number(rows()))
        torch.testing.assert_close(found["LiDAR"], lidar(views()))


@pytest.mark.ddp
@pytest.mark.slow
def test_every_rank_says_what_is_wrong(ddp: Any) -> None:
    assert all("has seen no embeddings" in said for said in ddp(nobody_has_rows))
    assert all("of 4 and of 5 columns" in said for said in ddp(ranks_of_two_widths))

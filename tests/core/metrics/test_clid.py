# SPDX-License-Identifier: Apache-2.0
"""Cluster learnability of blobs and of noise, canonical order, repeats, and exactness over ranks."""

from typing import Any

import pytest
import torch

from conjoin.core import random
from conjoin.core.metrics import Clid, clid, cluster_learnability, intrinsic_dimension, kmeans


def embeddings(rows: int = 120, width: int = 6) -> torch.Tensor:
    return torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_blobs_are_learnable_and_noise_in_many_dimensions_is_not() -> None:
    corners = torch.eye(10, dtype=torch.float64).repeat(20, 1)
    noise = torch.randn(200, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert float(cluster_learnability(corners + 0.01 * noise, clusters=10)) == 1
    wide = torch.randn(400, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert float(cluster_learnability(wide)) < 0.5


def test_equals_a_search_one_by_one() -> None:
    z = embeddings()
    unit = z / z.norm(dim=1, keepdim=True)
    label = kmeans(unit, 11, key=4)  # the rounded square root of 120
    order = random.permutation(torch.tensor(random.key(4, "halves")), 120).tolist()
    right = []
    for asked in order[60:]:
        distances = [(float((unit[asked] - unit[known]).norm()), known) for known in order[:60]]
        right.append(bool(label[min(distances)[1]] == label[asked]))
    assert 0 < sum(right) < 60
    assert float(cluster_learnability(z, seed=4)) == pytest.approx(sum(right) / 60)


def test_parts() -> None:
    found = clid(embeddings())
    assert found.cluster_learnability == cluster_learnability(embeddings())
    assert found.intrinsic_dimension == intrinsic_dimension(embeddings())


def test_order_and_repeats_do_not_show() -> None:
    z = embeddings()
    metric = Clid()
    order = torch.randperm(120, generator=torch.Generator().manual_seed(2))
    for part in order.split([50, 70]):
        metric.update(z[part], part)
    metric.update(z[:9], torch.arange(9))
    assert metric.compute() == clid(z)


def test_rows_beyond_the_maximum_are_ignored() -> None:
    metric = Clid(max_samples=30)
    metric.update(embeddings(), torch.arange(120))
    assert metric.compute() == clid(embeddings()[:30])


def test_guards() -> None:
    with pytest.raises(ValueError, match="at least 4 embeddings, got 3"):
        cluster_learnability(torch.zeros(3, 2))
    without: Any = None
    with pytest.raises(ValueError, match="needs the samples' numbers: give an index"):
        Clid().update(embeddings(4), without)
    with pytest.raises(ValueError, match="index must not be negative"):
        Clid().update(embeddings(4), torch.tensor([0, 1, -1, 2]))


def two_ranks(rank: int, world: int) -> tuple[torch.Tensor, ...]:
    # Interleaved, of different numbers, and with a sample that both have.
    mine = torch.arange(0, 120, 3) if rank == 0 else torch.tensor([i for i in range(120) if i % 3 or i == 6])
    metric = Clid()
    for part in mine.split(25):
        metric.update(embeddings()[part], part)
    return tuple(metric.compute())


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks(ddp: Any) -> None:
    for values in ddp(two_ranks):
        for value, expected in zip(values, clid(embeddings()), strict=True):
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)

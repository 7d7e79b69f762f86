# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import KoLeo, koleo
from conjoin.core.objectives.koleo import nearest_other


def loop(z):
    rows = [[x / math.hypot(*row) for x in row] for row in z.tolist()]
    total = 0.0
    for i, row in enumerate(rows):
        total -= math.log(min(math.dist(row, other) for j, other in enumerate(rows) if j != i) + 1e-8)
    return total / len(rows)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e8])
def test_equals_loops(scale):
    z = torch.randn(2, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale
    assert koleo(z[0]).item() == pytest.approx(loop(z[0]), rel=1e-9)
    assert KoLeo()(z).loss.item() == pytest.approx(loop(z[0]) + loop(z[1]), rel=1e-9)


def test_known_values():
    assert KoLeo()(torch.eye(2)).loss.item() == pytest.approx(-math.log(math.sqrt(2)))
    same = torch.ones(3, 4, dtype=torch.float64)
    assert KoLeo()(same).loss.item() == pytest.approx(-math.log(1e-8), rel=1e-6)


@pytest.mark.parametrize("limit", [1, 18, 1000])
def test_neighbours_in_chunks_never_are_the_row_itself(limit):
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    for start, rows in ((0, z), (3, z[3:7])):
        found = nearest_other(rows, z, start, limit)
        similarity = (rows @ z.T).tolist()
        for i, row in enumerate(similarity):
            best = max((s, -j) for j, s in enumerate(row) if j != start + i)
            assert found[i] == -best[1]


def local(rank, world):
    z = torch.eye(4)[2 * rank : 2 * rank + 2] + 0.3 * torch.eye(4)[[2, 3] if rank == 0 else [0, 1]]
    return koleo(z).item(), koleo(z, local=True).item()


@pytest.mark.ddp
def test_local_neighbours_are_an_option(ddp):
    for everyone, own in ddp(local):
        assert everyone > own, "the nearest rows are on the other rank"


def test_guards():
    with pytest.raises(ValueError, match="at least 2 samples"):
        KoLeo()(torch.ones(1, 3))
    with pytest.raises(ValueError, match="eps"):
        KoLeo(0)


def lonely(rank: int, world: int) -> str:
    rows = torch.randn(1 if rank == 0 else 3, 4)
    try:
        KoLeo(local=True)(rows)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.ddp
def test_a_rank_with_one_row_is_refused_on_all(ddp):
    assert all("on each rank" in message for message in ddp(lonely))

# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import sinkhorn_knopp


def loop(scores, temperature, iterations):
    """The alternation on the matrix itself, in Python floats."""
    q = [[math.exp(s / temperature) for s in row] for row in scores.tolist()]
    n, k = len(q), len(q[0])
    total = sum(map(sum, q))
    q = [[v / total for v in row] for row in q]
    for _ in range(iterations):
        columns = [sum(row[j] for row in q) for j in range(k)]
        q = [[row[j] / columns[j] / k for j in range(k)] for row in q]
        q = [[v / sum(row) / n for v in row] for row in q]
    return torch.tensor([[v * n for v in row] for row in q], dtype=torch.float64)


def test_known_values():
    scores = torch.tensor([[0.2, 0], [0.1, 0], [0.1, 0], [0, 0]], dtype=torch.float64)
    found = sinkhorn_knopp(scores)[:, 0].tolist()
    assert found == pytest.approx([0.8730, 0.4819, 0.4819, 0.1118], abs=5e-5)


@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_equals_loops(iterations):
    scores = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = sinkhorn_knopp(scores, 0.5, iterations)
    torch.testing.assert_close(found, loop(scores, 0.5, iterations))
    torch.testing.assert_close(found.sum(1), torch.ones(12, dtype=torch.float64))
    if iterations == 50:
        torch.testing.assert_close(found.sum(0), torch.full((4,), 3.0, dtype=torch.float64))


@pytest.mark.parametrize("scores", [torch.tensor([[1e4, 0.0], [0.0, -1e4], [1e4, 1e4]]), torch.zeros(3, 2)])
def test_extreme_scores_stay_assignments(scores):
    found = sinkhorn_knopp(scores)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found.sum(1), torch.ones(3))


def test_invalid_rows_take_no_part():
    scores = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([True] * 5 + [False] * 4)
    torch.testing.assert_close(sinkhorn_knopp(scores, 0.5, valid=valid)[:5], sinkhorn_knopp(scores[:5], 0.5))


def test_no_gradient():
    assert not sinkhorn_knopp(torch.zeros(3, 2, requires_grad=True)).requires_grad

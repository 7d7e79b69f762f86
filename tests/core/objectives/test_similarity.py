# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives.similarity import row_logsumexp


def loop(q, k, exclude):
    result = []
    for i, row in enumerate(q.tolist()):
        total = 0.0
        for j, other in enumerate(k.tolist()):
            if exclude is None or j not in exclude[i].tolist():
                total += math.exp(sum(a * b for a, b in zip(row, other, strict=True)))
        result.append(math.log(total))
    return torch.tensor(result, dtype=torch.float64)


@pytest.fixture
def case():
    g = torch.Generator().manual_seed(0)
    q = torch.randn(5, 3, dtype=torch.float64, generator=g)
    k = torch.randn(7, 3, dtype=torch.float64, generator=g)
    return q, k, torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [6, 0]])


@pytest.mark.parametrize("limit", [1, 14, 1000], ids=["row by row", "two rows", "whole"])
@pytest.mark.parametrize("excluded", [True, False])
def test_value_and_gradient(case, limit, excluded):
    q, k, exclude = case
    exclude = exclude if excluded else None
    torch.testing.assert_close(row_logsumexp(q, k, exclude, limit=limit), loop(q, k, exclude))
    assert torch.autograd.gradcheck(
        lambda q, k: row_logsumexp(q, k, exclude, limit=limit), (q.requires_grad_(), k.requires_grad_())
    )


def test_large_similarities_do_not_overflow():
    q = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    found = row_logsumexp(q, torch.tensor([[1.0], [0.5]]))
    assert found.tolist() == [1000.0, -500.0]
    found.sum().backward()
    assert q.grad.tolist() == [[1.0], [0.5]]


def test_the_same_matrix_on_both_sides(case):
    q = case[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda q: row_logsumexp(q, q), (q,))

# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives.similarity import row_and_column_logsumexp, row_logsumexp, self_logsumexp


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
    partner = torch.tensor([[6], [3], [0], [0], [2]])
    found, positive = row_logsumexp(q, k, exclude, partner, scale=0.7, limit=limit)
    torch.testing.assert_close(found, loop(0.7 * q, k, exclude))
    torch.testing.assert_close(positive, 0.7 * (q * k[partner[:, 0]]).sum(1))
    assert torch.autograd.gradcheck(
        lambda q, k: row_logsumexp(q, k, exclude, partner, scale=0.7, limit=limit),
        (q.requires_grad_(), k.requires_grad_()),
    )


@pytest.mark.parametrize("limit", [1, 10, 1000], ids=["row by row", "two rows", "whole"])
@pytest.mark.parametrize("decoupled", [True, False])
def test_rows_with_themselves(case, limit, decoupled):
    u = case[1][:4]
    partner = torch.tensor([[2], [3], [0], [1]])
    exclude = torch.arange(4).unsqueeze(1)
    exclude = torch.cat((exclude, partner), 1) if decoupled else exclude
    found, positive = self_logsumexp(u, exclude, partner, scale=0.7, limit=limit)
    torch.testing.assert_close(found, loop(0.7 * u, u, exclude))
    torch.testing.assert_close(positive, 0.7 * (u * u[partner[:, 0]]).sum(1))
    weights = torch.arange(1.0, 9.0, dtype=torch.float64).view(2, 4)

    def weighted(u):
        rows, positive = self_logsumexp(u, exclude, partner, scale=0.7, limit=limit)
        return weights[0] @ rows + weights[1] @ positive

    assert torch.autograd.gradcheck(weighted, (u.requires_grad_(),))


@pytest.mark.parametrize("limit", [1, 10, 1000], ids=["row by row", "two rows", "whole"])
def test_both_sides_of_one_matrix(case, limit):
    q, k = case[0], case[1][:5]
    rows, columns, positive = row_and_column_logsumexp(q, k, scale=0.7, limit=limit)
    torch.testing.assert_close(rows, loop(0.7 * q, k, None))
    torch.testing.assert_close(columns, loop(0.7 * k, q, None))
    torch.testing.assert_close(positive, 0.7 * (q * k).sum(1))
    assert torch.autograd.gradcheck(
        lambda q, k: row_and_column_logsumexp(q, k, scale=0.7, limit=limit),
        (q.requires_grad_(), k.requires_grad_()),
    )


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_learnt_scale(case, limit):
    q, k = case[0].requires_grad_(), case[1][:5].requires_grad_()
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    own = torch.tensor([[4], [3], [0], [0], [2]])
    for both in (True, False):

        def found(q, k, scale, both=both):
            if both:
                return row_and_column_logsumexp(q, k, scale=scale, limit=limit)
            return row_logsumexp(q, k, partner=own, scale=scale, limit=limit)

        fixed = found(q, k, 0.7)
        assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(found(q, k, scale), fixed, strict=True))
        assert torch.autograd.gradcheck(found, (q, k, scale))


def test_the_memory_of_one_matrix_or_less():
    """The most entries that a whole pass saves for its backward pass, beside its inputs."""
    z = torch.randn(64, 4, requires_grad=True)

    def saved(limit):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            self_logsumexp(z, torch.arange(64).unsqueeze(1), limit=limit)
        return max(sizes)

    assert saved(64 * 64) == 64 * 64
    assert saved(64 * 64 - 1) == 64 * 4


def test_large_similarities_do_not_overflow():
    q = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    found, nothing = row_logsumexp(q, torch.tensor([[1.0], [0.5]]))
    assert nothing.shape == (0,)
    assert found.tolist() == [1000.0, -500.0]
    found.sum().backward()
    assert q.grad.tolist() == [[1.0], [0.5]]


def test_the_same_matrix_on_both_sides(case):
    q = case[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda q: row_logsumexp(q, q)[0], (q,))

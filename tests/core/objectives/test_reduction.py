# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.objectives.reduction import column_sum, global_mean, global_rows, row_range


def test_one_process():
    x = torch.arange(12.0).view(4, 3)
    assert row_range(x) == (0, 4)
    assert global_rows(x) == 4
    assert global_mean(x, 6).item() == 11.0
    assert column_sum(x).tolist() == [18.0, 22.0, 26.0]


def test_too_few_rows_are_a_sentence():
    with pytest.raises(ValueError, match="at least 2 samples in the global batch, found 1"):
        global_rows(torch.zeros(1, 3), at_least=2)


def parts(rank, world):
    x = torch.full((3 - 2 * rank, 2), 1.0 + rank, requires_grad=True)
    mean = global_mean(x, global_rows(x, at_least=4))
    (grad,) = torch.autograd.grad(mean, x)
    empty = torch.zeros(2 * rank, 2)
    return row_range(x), mean.detach(), grad, column_sum(x).detach(), row_range(empty)


@pytest.mark.ddp
def test_rows_of_two_ranks(ddp):
    first, second = ddp(parts)
    assert first[0] == (0, 4)
    assert second[0] == (3, 4)
    for _, mean, grad, column, _ in (first, second):
        assert mean.item() == pytest.approx((3 * 2 * 1 + 2 * 2) / 4)
        # Both ranks' values count: their average is what DDP makes of it.
        assert torch.equal(grad, torch.full_like(grad, 2 / 4))
        assert column.tolist() == [5.0, 5.0]
    assert (first[4], second[4]) == ((0, 2), (0, 2))

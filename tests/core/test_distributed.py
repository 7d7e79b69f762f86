# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from conjoin.core import distributed


def rows(sizes, seed=0):
    """Different rows for every rank: the parts of one batch."""
    x = torch.randn(sum(sizes), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x, x.split(sizes)


def model():
    torch.manual_seed(1)
    return nn.Linear(6, 4).double()


def coupled(z):
    """An objective in which every row meets every other."""
    normed = (z - z.mean(0)) / z.std(0)
    return torch.logsumexp(z @ z.T, dim=1).mean() + (normed.T @ normed / len(z)).square().sum()


def ddp_gradient(rank, world, sizes, kind):
    _, parts = rows(sizes)
    net = DistributedDataParallel(model())
    z = net(parts[rank])
    if kind == "gather":
        loss = coupled(distributed.gather_with_grad(z))
    elif kind == "even":
        loss = coupled(distributed.gather_with_grad(z, even=True))
    elif kind == "own rows":  # each rank: its rows against the gathered batch, weighted to a global mean
        everyone = distributed.gather_with_grad(z)
        loss = torch.logsumexp(z @ everyone.T, dim=1).sum() * world / len(everyone)
    elif kind == "sum":
        count = distributed.all_reduce_sum(torch.tensor(float(len(z)), dtype=z.dtype))
        loss = (distributed.all_reduce_sum(z.sin().sum(0)) / count).square().sum()
    else:
        loss = (distributed.all_reduce_mean(z.sin().mean(0))).square().sum()
    loss.backward()
    mean = distributed.all_reduce_mean(loss.detach())
    return mean, net.module.weight.grad, net.module.bias.grad


@pytest.mark.ddp
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("gather", [5, 5]),
        ("gather", [7, 3]),
        ("gather", [1, 8]),
        ("even", [4, 4]),
        ("own rows", [6, 3]),
        ("sum", [6, 3]),
        ("mean", [4, 4]),
    ],
)
def test_two_ranks_have_the_value_and_gradient_of_one_process(ddp, kind, sizes):
    net = model()
    x, _ = rows(sizes)
    z = net(x)
    if kind in ("gather", "even"):
        loss = coupled(z)
    elif kind == "own rows":
        loss = torch.logsumexp(z @ z.T, dim=1).mean()
    else:
        loss = z.sin().mean(0).square().sum()
    loss.backward()
    for value, weight, bias in ddp(ddp_gradient, sizes, kind):
        torch.testing.assert_close(value, loss.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(weight, net.weight.grad, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(bias, net.bias.grad, rtol=1e-10, atol=1e-13)


def collect(rank, world):
    assert (distributed.rank(), distributed.world_size(), distributed.is_distributed()) == (rank, 2, True)
    number = torch.arange(rank + 2) + 10 * rank
    return {
        "rows": distributed.gather_rows(number),
        "flags": distributed.gather_rows(number % 2 == 0),
        "empty": distributed.gather_rows(torch.ones(2 * rank, 3)),
        "min": distributed.all_reduce_min(torch.tensor([rank, 5 - rank])),
        "broadcast": distributed.broadcast(torch.tensor([rank + 0.5]), source=1),
        "input kept": number,
    }


@pytest.mark.ddp
def test_collectives_without_gradient(ddp):
    for rank, got in enumerate(ddp(collect)):
        assert got["rows"].tolist() == [0, 1, 10, 11, 12]
        assert got["flags"].tolist() == [True, False, True, False, True]
        assert got["empty"].shape == (2, 3)
        assert got["min"].tolist() == [0, 4]
        assert got["broadcast"].tolist() == [1.5]
        assert got["input kept"].tolist() == [[0, 1], [10, 11, 12]][rank]


def second_derivative(rank, world):
    x = torch.tensor([1.0 + rank], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(distributed.all_reduce_sum(x**3), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    return second


@pytest.mark.ddp
def test_sum_can_be_differentiated_twice(ddp):
    # The first backward adds the seeds of both ranks: 2 * 3 x^2, whose derivative is 12 x.
    for rank, second in enumerate(ddp(second_derivative)):
        assert second.item() == pytest.approx(12 * (1.0 + rank))


def test_identity_in_one_process():
    x = torch.randn(3, 2, requires_grad=True)
    assert not distributed.is_distributed()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    for function in (
        distributed.gather_with_grad,
        distributed.all_reduce_sum,
        distributed.all_reduce_mean,
        distributed.all_reduce_min,
        distributed.broadcast,
    ):
        assert function(x) is x
    kept = distributed.gather_rows(x)
    assert torch.equal(kept, x)
    assert not kept.requires_grad


def boom(rank, world):
    if rank == 1:
        raise ValueError("on purpose")
    return rank


@pytest.mark.ddp
def test_the_pool_reports_an_error_and_works_again(ddp):
    with pytest.raises(RuntimeError, match="on purpose"):
        ddp(boom)
    assert [got["min"].tolist() for got in ddp(collect)] == [[0, 4], [0, 4]]


def test_the_pool_refuses_a_local_function(ddp):
    with pytest.raises(TypeError, match="local"):
        ddp(lambda rank, world: None)

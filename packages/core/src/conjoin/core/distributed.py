# SPDX-License-Identifier: Apache-2.0
"""Collectives with exact gradients: the only module of conjoin that talks to other ranks.

Every function is the identity (or the trivial answer) in a run without a process group, so code
that uses them reads the same on one process and on many.

Gradient convention
    Rank ``r`` computes a scalar ``L_r`` and ``DistributedDataParallel`` averages the parameter
    gradients, so the run minimises ``L = mean_r L_r``. The backward pass of a collective is its
    adjoint: what rank ``r`` receives for its own input is the sum over ranks ``s`` of the
    derivatives of ``L_s`` by it. With ``J_r`` the derivative of the rows ``z_r`` by the parameters,

        (1/W) sum_r J_r^T (sum_s dL_s/dz_r)  =  d/dtheta (1/W) sum_s L_s  =  dL/dtheta,

    for any ``L_r``. Two cases follow. When every rank computes the same objective on the gathered
    batch, ``L_r = L`` and the averaged gradient is the one that a single process would compute. When
    each rank computes the terms of its own rows against the gathered batch, the gradient is that of
    the mean over ranks. No loss needs a factor ``W`` anywhere.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = (
    "all_reduce_mean",
    "all_reduce_min",
    "all_reduce_sum",
    "broadcast",
    "gather_rows",
    "gather_with_grad",
    "is_distributed",
    "rank",
    "world_size",
)


def is_distributed() -> bool:
    """Whether a process group with more than one rank is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number in the process group; 0 without one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """The number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _to_backend(x: Tensor) -> Tensor:
    """A dense copy of ``x`` where the process group can reach it: NCCL alone cannot send CPU tensors."""
    x = x.detach().contiguous()
    if x.device.type == "cpu" and "cpu:" not in dist.get_backend_config():
        return x.to(torch.device("cuda", torch.cuda.current_device()))
    return x


def _row_counts(x: Tensor) -> list[int]:
    """The first dimension of ``x`` on every rank."""
    own = _to_backend(torch.tensor([x.shape[0]], device=x.device))
    counts = own.new_empty(world_size())
    dist.all_gather_into_tensor(counts, own)
    return [int(count) for count in counts.tolist()]


def _gather(x: Tensor, counts: list[int]) -> Tensor:
    """Concatenate the rows of all ranks; shorter ranks are padded for the exchange."""
    own = _to_backend(x)
    largest = max(counts)
    if own.shape[0] < largest:
        own = torch.cat((own, own.new_zeros(largest - own.shape[0], *own.shape[1:])))
    everyone = own.new_empty(world_size() * largest, *own.shape[1:])
    dist.all_gather_into_tensor(everyone, own)
    if min(counts) < largest:
        everyone = torch.cat(
            [block[:n] for block, n in zip(torch.split(everyone, largest), counts, strict=True)]
        )
    return everyone.to(x.device)


class _GatherWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _gather(x, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        counts: list[int] = ctx.counts
        largest, own = max(counts), counts[rank()]
        total = _to_backend(grad)
        if min(counts) < largest:
            padded = total.new_zeros(len(counts), largest, *total.shape[1:])
            for block, rows in zip(padded, torch.split(total, counts), strict=True):
                block[: len(rows)] = rows
            total = padded.flatten(0, 1)
        mine = total.new_empty(largest, *total.shape[1:])
        dist.reduce_scatter_tensor(mine, total)
        return mine[:own].to(grad.device), None


class _SumWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = _to_backend(x).clone()
        dist.all_reduce(total)
        return total.to(x.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _SumWithGrad.apply(grad)  # type: ignore[no-untyped-call]


def gather_with_grad(x: Tensor, *, even: bool = False) -> Tensor:
    """Concatenate the rows of all ranks in rank order, with exact gradients (see the module's text).

    Args:
        x: Rows of this rank (B_r, ...); ``B_r`` may differ between ranks and may be 0, the other
            dimensions may not differ.
        even: Promise that all ranks have the same number of rows; saves the exchange of the row
            counts, which waits for the device.

    Returns:
        (sum_r B_r, ...), the same on every rank.
    """
    if not is_distributed():
        return x
    counts = [x.shape[0]] * world_size() if even else _row_counts(x)
    result: Tensor = _GatherWithGrad.apply(x, counts)  # type: ignore[no-untyped-call]
    return result


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum over ranks, with exact gradients (see the module's text)."""
    if not is_distributed():
        return x
    result: Tensor = _SumWithGrad.apply(x)  # type: ignore[no-untyped-call]
    return result


def all_reduce_mean(x: Tensor) -> Tensor:
    """Mean over ranks, with exact gradients (see the module's text)."""
    return all_reduce_sum(x) / world_size() if is_distributed() else x


@torch.no_grad()
def all_reduce_min(x: Tensor) -> Tensor:
    """Elementwise minimum over ranks of an integer or float tensor; no gradient."""
    if not is_distributed():
        return x
    least = _to_backend(x).clone()
    dist.all_reduce(least, op=dist.ReduceOp.MIN)
    return least.to(x.device)


@torch.no_grad()
def gather_rows(x: Tensor) -> Tensor:
    """Concatenate the rows of all ranks in rank order, without gradient.

    Args:
        x: Rows of this rank (B_r, ...), of any type; ``B_r`` may differ between ranks.

    Returns:
        (sum_r B_r, ...), the same on every rank.
    """
    if not is_distributed():
        return x.detach()
    if x.dtype == torch.bool:  # NCCL and gloo have no booleans
        return _gather(x.view(torch.uint8), _row_counts(x)).view(torch.bool)
    return _gather(x, _row_counts(x))


@torch.no_grad()
def broadcast(x: Tensor, source: int = 0) -> Tensor:
    """The tensor of rank ``source`` on every rank; shape and type must already agree. No gradient."""
    if not is_distributed():
        return x
    copy = _to_backend(x).clone()
    dist.broadcast(copy, src=source)
    return copy.to(x.device)

# SPDX-License-Identifier: Apache-2.0
r"""Batch normalisation over the visible positions of all samples, and of all ranks if asked.

With the mask :math:`m \in \{0, 1\}` and :math:`n = \sum m`, in training

.. math::
    \mu = \tfrac1n \sum m\,x, \quad \sigma^2 = \tfrac1n \sum m\,(x - \mu)^2, \quad
    y = m \odot \Bigl(\gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta\Bigr),

which is ``BatchNorm1d`` on the gathered visible vectors, scattered back into zeros (the sparse layers of
SparK, arXiv 2301.03580). Sums with weights instead of gathering: no shape depends on the mask, so a GPU need
not be waited for. Statistics and their gradients are computed in
float32 (or float64), inside autocast too. Running
statistics move as in ``nn.BatchNorm2d``, by visible positions alone.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from conjoin.core import distributed

__all__ = ("masked_batch_norm",)

_OVER = (0, 2, 3)


class _Normalize(torch.autograd.Function):
    """Normalise, scale and shift visible positions; gives mean, variance and count as well.

    Scale and shift belong in here because their gradients are the two sums that the gradient of the
    normalisation needs anyway: apart, they would cost five more passes over the largest maps there are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mask: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        sync: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count = mask.sum()
        total = (x * mask).sum(_OVER)
        if sync:
            total, count = _summed(total, count)
        count = count.clamp_min(1)
        mean = total / count
        y = (x - _per_channel(mean)).mul_(mask)
        square = torch.linalg.vector_norm(y, dim=_OVER).square()
        if sync:
            (square,) = _summed(square)
        variance = square / count
        scale = (variance + eps).rsqrt()
        y.mul_(_per_channel(scale))
        ctx.save_for_backward(y, mask, scale, count, weight)
        ctx.sync = sync
        ctx.mark_non_differentiable(mean, variance, count)
        # The shift is zero where hidden, as the normalised value is.
        out = y.clone() if weight is None else y * _per_channel(weight)
        if bias is not None:
            out.addcmul_(_per_channel(bias), mask)
        return out, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor, *_: Tensor
    ) -> tuple[Tensor, None, Tensor | None, Tensor | None, None, None]:
        y, mask, scale, count, weight = ctx.saved_tensors
        grad = grad * mask
        # Gradients of shift and scale, and what a change of mean and variance does to every visible position.
        shift, slope = grad.sum(_OVER), torch.linalg.vecdot(grad.flatten(2), y.flatten(2)).sum(0)
        direct, along = _summed(shift, slope) if ctx.sync else (shift, slope)
        grad -= _per_channel(direct / count)
        grad = grad.addcmul_(y, _per_channel(along / count), value=-1)
        # y is zero where hidden, the mean's part is not.
        grad = grad.mul_(_per_channel(scale if weight is None else scale * weight)).mul_(mask)
        _, _, scaled, shifted, *_ = ctx.needs_input_grad
        return grad, None, slope if scaled else None, shift if shifted else None, None, None


def _per_channel(value: Tensor) -> Tensor:
    """(C,) as (1, C, 1, 1)."""
    return value.view(1, -1, 1, 1)


def _summed(*values: Tensor) -> tuple[Tensor, ...]:
    """Each value summed over ranks, in one collective."""
    flat = distributed.all_reduce_sum(torch.cat([value.flatten() for value in values]))
    parts = torch.split_with_sizes(flat, [value.numel() for value in values])
    return tuple(part.view_as(value) for part, value in zip(parts, values, strict=True))


def masked_batch_norm(
    norm: nn.BatchNorm2d | nn.SyncBatchNorm, x: Tensor, mask: Tensor | None = None, *, sync: bool = False
) -> Tensor:
    """Apply a batch norm to the visible positions.

    Args:
        norm: The layer: its weights, mode and running statistics.
        x: (B, C, H, W).
        mask: (B, 1, H, W) of ones and zeros; None if all positions are visible.
        sync: Use the statistics of all ranks in training, as one process on the whole batch would.

    Returns:
        (B, C, H, W) in the type of ``x``, zero where hidden.
    """
    wide = x if x.dtype == torch.float64 else x.float()  # autocast leaves what follows alone
    if mask is None:
        mask = wide.new_ones((len(x), 1, *x.shape[2:]))
    mask = mask.to(wide.dtype)
    weight, bias = (None if value is None else value.to(wide.dtype) for value in (norm.weight, norm.bias))
    if norm.training or norm.running_mean is None or norm.running_var is None:
        y, mean, variance, count = _Normalize.apply(  # type: ignore[no-untyped-call]
            wide, mask, weight, bias, norm.eps, sync
        )
        if norm.running_mean is not None:
            _track(norm, mean, variance * count / (count - 1).clamp_min(1))
    else:
        scale = (norm.running_var.to(wide.dtype) + norm.eps).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -norm.running_mean.to(wide.dtype) * scale
        shift = shift if bias is None else shift + bias
        y = torch.addcmul(_per_channel(shift), wide, _per_channel(scale)) * mask
    return cast(Tensor, y.to(x.dtype))


@torch.no_grad()
def _track(norm: nn.BatchNorm2d | nn.SyncBatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as the layer itself would."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    factor: Tensor | float = (
        1 / norm.num_batches_tracked.to(mean.dtype) if norm.momentum is None else norm.momentum
    )
    for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.copy_(running + factor * (value.to(running.dtype) - running))

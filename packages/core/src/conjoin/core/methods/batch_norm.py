# SPDX-License-Identifier: Apache-2.0
"""Batch norm over the rows of all ranks, on any device.

The heads of two-view methods normalise over the global batch in every official release. torch's SyncBatchNorm
does that on accelerators only and has to be asked for; this layer always does, with exact gradients, and is
``torch.nn.functional.batch_norm`` in one process.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core import distributed

__all__ = ("BatchNorm",)


class BatchNorm(nn.Module):
    """Batch norm of rows (N, D).

    Args:
        dim: Width D.
        scale: Learn a factor per column.
        shift: Learn an offset per column.
        eps: Added to the variance.
        momentum: How far the running statistics move in a step.
        device: Where the weights live.
        dtype: Their type.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        dim: int,
        *,
        scale: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(dim, **factory)) if scale else None
        self.bias = nn.Parameter(torch.empty(dim, **factory)) if shift else None
        self.register_buffer("running_mean", torch.empty(dim, **factory))
        self.register_buffer("running_var", torch.empty(dim, **factory))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Factor 1, offset 0, statistics of a standard normal."""
        for ones in (self.weight, self.running_var):
            if ones is not None:
                ones.fill_(1)
        for zeros in (self.bias, self.running_mean):
            if zeros is not None:
                zeros.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) to the same.

        Raises:
            ValueError: If there are not two rows to normalise over in training.
        """
        if not self.training or not distributed.is_distributed():
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum,
                self.eps,
            )  # fmt: skip
        with torch.autocast(x.device.type, enabled=False):
            return self._over_ranks(x.to(self.running_mean.dtype)).to(x.dtype)

    def _over_ranks(self, x: Tensor) -> Tensor:
        rows = distributed.all_reduce_sum(x.new_full((), float(len(x))))
        mean = distributed.all_reduce_sum(x.sum(dim=0)) / rows
        centred = x - mean
        variance = distributed.all_reduce_sum(centred.square().sum(dim=0)) / rows
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (rows / (rows - 1)), self.momentum)
        factor = torch.rsqrt(variance + self.eps)
        y = centred * (factor if self.weight is None else factor * self.weight)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return (
            f"{len(self.running_mean)}, scale={self.weight is not None}, shift={self.bias is not None}, "
            f"eps={self.eps}, momentum={self.momentum}"
        )

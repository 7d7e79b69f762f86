# SPDX-License-Identifier: Apache-2.0
r"""Sub-manifold and strided sparse convolution as layers, with spconv 2.x's weight layout.

.. math:: y_o = b + \sum_t \sum_{(o, i) \in R_t} W_t x_i

over the taps t and the pairs of the rulebook :math:`R` (:mod:`conjoin.pointcloud.ops.sparse`). Weights are
(C_out, kz, ky, kx, C_in), so released spconv 2 checkpoints load as they are.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.pointcloud.ops.sparse import Rulebook, SparseVoxels, Triple, strided_rules

__all__ = ("SparseConv3d", "SubmanifoldConv3d", "sparse_conv")


class _PairConvolution(torch.autograd.Function):
    """Gather, multiply, add per tap; the gathered rows are made again backwards instead of being kept."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, rules: Rulebook) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rules = rules
        taps = weight.flatten(1, 3).permute(1, 2, 0)  # (T, C_in, C_out)
        if rules.identity is None:
            out = features.new_zeros(len(rules.places), len(weight))
        else:
            out = features @ taps[rules.identity]
        for number, (rows, sources) in enumerate(zip(rules.outputs, rules.inputs, strict=True)):
            if number != rules.identity and len(rows):
                out.index_add_(0, rows, features.index_select(0, sources) @ taps[number])
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        features, weight = ctx.saved_tensors
        rules: Rulebook = ctx.rules
        taps = weight.flatten(1, 3).permute(1, 0, 2)  # (T, C_out, C_in)
        into = torch.zeros_like(features)
        by_tap = torch.zeros(taps.shape, dtype=weight.dtype, device=weight.device)
        for number, (rows, sources) in enumerate(zip(rules.outputs, rules.inputs, strict=True)):
            if number == rules.identity:
                into += grad @ taps[number]
                by_tap[number] = grad.T @ features
            elif len(rows):
                picked = grad.index_select(0, rows)
                into.index_add_(0, sources, picked @ taps[number])
                by_tap[number] = picked.T @ features.index_select(0, sources)
        return into, by_tap.permute(1, 0, 2).reshape(weight.shape), None


def sparse_conv(features: Tensor, weight: Tensor, rules: Rulebook, bias: Tensor | None = None) -> Tensor:
    """Convolve along a rulebook.

    Args:
        features: (M, C_in).
        weight: (C_out, kz, ky, kx, C_in).
        rules: Which row feeds which.
        bias: (C_out,).

    Returns:
        (M', C_out) at ``rules.places``.

    Raises:
        ValueError: If the weight is not that of the rulebook's kernel or the features' width.
    """
    if weight.ndim != 5 or weight.shape[1:4] != rules.kernel or weight.shape[4] != features.shape[1]:
        raise ValueError(
            f"The weight must be (C_out, {', '.join(map(str, rules.kernel))}, {features.shape[1]}), not "
            f"{tuple(weight.shape)}."
        )
    if torch.is_autocast_enabled(features.device.type):
        lower = torch.get_autocast_dtype(features.device.type)
        features, weight = features.to(lower), weight.to(lower)
    out: Tensor = _PairConvolution.apply(features, weight, rules)  # type: ignore[no-untyped-call]
    return out if bias is None else out + bias.to(out.dtype)


class _SparseConvolution(nn.Module):
    """Weights and their first values."""

    def __init__(
        self, channels: int, out_channels: int, kernel: Triple, bias: bool, device: Any, dtype: Any
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(out_channels, *kernel, channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1 / sqrt(fan-in), as ``nn.Conv3d``."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Widths and kernel."""
        return f"{self.weight.shape[4]}, {self.weight.shape[0]}, kernel={self.kernel}"


class SubmanifoldConv3d(_SparseConvolution):
    """Convolution whose outputs lie exactly at the inputs' places.

    Args:
        channels: C_in.
        out_channels: C_out.
        kernel: Odd numbers of taps (z, y, x).
        bias: Whether to add one.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: Triple = (3, 3, 3),
        bias: bool = True,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, out_channels, kernel, bias, device, dtype)

    def forward(self, voxels: SparseVoxels) -> SparseVoxels:
        """Convolve; the rulebook is built by the first layer over these places."""
        rules = voxels.submanifold(self.kernel)
        return voxels.with_features(sparse_conv(voxels.features, self.weight, rules, self.bias))


class SparseConv3d(_SparseConvolution):
    """Strided convolution: active are all outputs that any active input reaches.

    Args:
        channels: C_in.
        out_channels: C_out.
        kernel: Taps (z, y, x).
        stride: Step per axis.
        padding: Zeros before and after, per axis.
        bias: Whether to add one.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: Triple = (3, 3, 3),
        stride: Triple = (2, 2, 2),
        padding: Triple = (1, 1, 1),
        bias: bool = True,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, out_channels, kernel, bias, device, dtype)
        self.stride = stride
        self.padding = padding

    def forward(self, voxels: SparseVoxels) -> SparseVoxels:
        """Convolve."""
        rules = strided_rules(
            voxels.places, voxels.shape, voxels.batch_size, self.kernel, self.stride, self.padding
        )
        features = sparse_conv(voxels.features, self.weight, rules, self.bias)
        return SparseVoxels(features, rules.places, rules.shape, voxels.batch_size)

    def extra_repr(self) -> str:
        """Widths, kernel, stride and padding."""
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}"

# SPDX-License-Identifier: Apache-2.0
"""Rotary positions on an n-dimensional grid.

Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021): pairs of channels
of queries and keys are turned by an angle proportional to the position, so that their product
depends on the difference of positions only. On a grid the channels of a head are shared out
equally among the axes; channels left over (head widths not divisible by twice the number of
axes) are not turned.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn.gather import gather_rows
from conjoin.core.nn.positions import grid_coordinates

__all__ = ("RotaryPositions", "Rotation", "rotate")

Rotation = tuple[Tensor, ...]
"""Cosines and sines of the angles: two tensors, each (N, d) or (B, N, d)."""


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn channel pairs ``(2i, 2i + 1)``.

    Args:
        x: (B, H, N, d) queries or keys.
        rotation: Cosines and sines, each (N, d) or (B, N, d).

    Returns:
        (B, H, N, d) of the type of ``x``.
    """
    cos, sin = (part if part.ndim == 2 else part.unsqueeze(1) for part in rotation)
    even, odd = torch.unflatten(x, -1, (-1, 2)).unbind(-1)
    turned = torch.stack((-odd, even), dim=-1).flatten(-2)
    return (x * cos + turned * sin).to(x.dtype)


class RotaryPositions(nn.Module):
    """Cosines and sines for every cell of a grid, ready for ``Attention(..., rope=)``.

    Args:
        grid: Cells per axis; N is their product, in raster order.
        head_dim: Channels ``d`` of one head; even.
        base: Wavelengths run from 2 pi to about 2 pi ``base`` cells.
        device: Where the tables live.
        dtype: Their type.

    Raises:
        ValueError: If ``head_dim`` is odd or has fewer than two channels per axis.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        grid: tuple[int, ...],
        head_dim: int,
        *,
        base: float = 10000.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if head_dim % 2 or head_dim < 2 * len(grid):
            raise ValueError(
                f"Rotary positions need an even head width of at least {2 * len(grid)} for {len(grid)} axes, "
                f"got {head_dim}."
            )
        self.grid = tuple(grid)
        self.head_dim = head_dim
        self.base = base
        table = torch.empty(math.prod(grid), head_dim, device=device, dtype=dtype)
        # Not in the state dict: the tables follow from the constructor's arguments.
        self.register_buffer("cos", table, persistent=False)
        self.register_buffer("sin", table.clone(), persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Fill the tables."""
        axes = len(self.grid)
        pairs = self.head_dim // 2 // axes
        frequency = self.base ** -(torch.arange(pairs, dtype=torch.float64, device="cpu") / pairs)
        angles = (grid_coordinates(self.grid)[..., None] * frequency).flatten(1)
        still = angles.new_zeros(len(angles), self.head_dim // 2 - axes * pairs)
        angles = torch.cat((angles, still), dim=1).repeat_interleave(2, dim=1)
        self.cos.copy_(angles.cos())
        self.sin.copy_(angles.sin())

    def forward(self, keep: Tensor | None = None) -> Rotation:
        """Tables of all cells, (N, d) each, or of the cells ``keep`` (B, K): (B, K, d) each."""
        if keep is None:
            return self.cos, self.sin
        return gather_rows(self.cos, keep), gather_rows(self.sin, keep)

    def extra_repr(self) -> str:
        """The grid and the head width."""
        return f"grid={self.grid}, head_dim={self.head_dim}, base={self.base:g}"

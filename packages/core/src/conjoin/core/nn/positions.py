# SPDX-License-Identifier: Apache-2.0
"""Absolute positions on an n-dimensional grid: fixed sines and cosines, or learned.

Sines and cosines after Vaswani et al. (2017), one group of channels per axis, in the layout of the
official JEPA releases: the *last* axis (the column of an image) comes first. In a group of
``2 F`` channels the first ``F`` are ``sin(w_k p)``, the others ``cos(w_k p)``, with
``w_k = 10000^(-k / F)`` and ``p`` the bare index of the cell, not normalised by the size of the grid.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn.gather import gather_rows
from conjoin.core.nn.init import init_weight_

__all__ = ("LearnedPositions", "grid_coordinates", "resize_positions", "sincos_positions")


def grid_coordinates(grid: tuple[int, ...]) -> Tensor:
    """Index of every cell along every axis: float64 (N, axes) in raster order, on the CPU."""
    axes = [torch.arange(size, dtype=torch.float64, device="cpu") for size in grid]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], dim=1)


def sincos_positions(
    grid: tuple[int, ...],
    dim: int,
    *,
    base: float = 10000.0,
    device: Any = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Fixed position embeddings for the cells of a grid.

    Args:
        grid: Cells per axis, e.g. (rows, columns); one to any number of axes.
        dim: Width. Each axis gets ``2 ceil(dim / (2 axes))`` channels, and what exceeds ``dim`` at
            the end (possible only if ``2 axes`` does not divide ``dim``) is cut.
        base: Ratio of the longest to the shortest wavelength.
        device: Where the result lives.
        dtype: Its type; computed in float64 in any case.

    Returns:
        (N, dim) with N the number of cells, in raster order.

    Raises:
        ValueError: If an axis has no cell or ``dim`` leaves an axis without channels.
    """
    axes = len(grid)
    if not axes or min(grid) < 1:
        raise ValueError(f"A grid needs at least one cell on each of its axes, got {grid}.")
    if dim < 2 * axes:
        raise ValueError(f"Positions on {axes} axes need a width of at least {2 * axes}, got {dim}.")
    half = math.ceil(dim / (2 * axes))
    frequency = base ** -(torch.arange(half, dtype=torch.float64, device="cpu") / half)
    angles = grid_coordinates(grid).flip(1)[..., None] * frequency  # (N, axes, half), last axis first
    table = torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :dim]
    return table.to(device=device, dtype=dtype or torch.get_default_dtype())


def resize_positions(table: Tensor, grid: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Bicubic interpolation of the position embeddings of an image grid to another one.

    Args:
        table: (N, D) or (1, N, D), N cells in raster order, no class token.
        grid: The (rows, columns) that ``table`` was made for.
        to: The (rows, columns) wanted.

    Returns:
        The table for ``to``, with the same number of dimensions and the same type.

    Raises:
        ValueError: If ``table`` does not have one row per cell of ``grid``.
    """
    if table.shape[-2] != math.prod(grid):
        raise ValueError(
            f"The position table has {table.shape[-2]} rows, but the grid {grid} has {math.prod(grid)} "
            "cells; drop a class token before resizing."
        )
    if tuple(grid) == tuple(to):
        return table
    planes = table.reshape(1, *grid, -1).permute(0, 3, 1, 2).float()
    resized = F.interpolate(planes, size=to, mode="bicubic", align_corners=False, antialias=False)
    return resized.permute(0, 2, 3, 1).reshape(*table.shape[:-2], math.prod(to), -1).to(table.dtype)


class LearnedPositions(nn.Module):
    """One trainable vector per cell, drawn from a normal of standard deviation 0.02.

    Args:
        grid: Cells per axis; N is their product, in raster order.
        dim: Width.
        device: Where the table lives.
        dtype: Its type.
    """

    def __init__(
        self, grid: tuple[int, ...], dim: int, *, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.table = nn.Parameter(torch.empty(math.prod(grid), dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random vectors."""
        init_weight_(self.table)

    def forward(self, keep: Tensor | None = None) -> Tensor:
        """(N, D), or (B, K, D) for the cells ``keep`` (B, K)."""
        return self.table if keep is None else gather_rows(self.table, keep)

    def extra_repr(self) -> str:
        """The grid and the width."""
        return f"grid={self.grid}, dim={self.table.shape[1]}"

# SPDX-License-Identifier: Apache-2.0
"""Separable linear maps along the axes of a batch, another one for each sample.

A crop with resizing and a blur are the same thing here: along each axis a matrix (B, out, in) per sample.
That works for any number of axes, on any device, and a batch costs one product of matrices per axis.
"""

import torch
from torch import Tensor

__all__ = ("along", "gaussian", "interpolation", "resample")


def along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Apply a matrix per sample along one axis.

    Args:
        x: (B, ..., n, ...).
        matrix: (B, m, n).
        axis: Of ``x``, not the first.

    Returns:
        (B, ..., m, ...).
    """
    moved = x.movedim(axis, -1)
    product = moved.flatten(1, -2) @ matrix.to(x.dtype).mT
    return product.view(*moved.shape[:-1], -1).movedim(-1, axis)


def interpolation(start: Tensor, extent: Tensor, length: int, size: int) -> Tensor:
    """Linear interpolation of the cells [start, start + extent) of a line to ``size`` cells.

    Where cells shrink the triangle widens with them (antialiasing), as in PIL and in
    ``torch.nn.functional.interpolate(..., antialias=True)``.

    Args:
        start: First cell, whole numbers (B,).
        extent: Number of cells, whole numbers (B,), at least 1.
        length: Cells of the line.
        size: Cells of the result.

    Returns:
        float32 matrices (B, size, length) with rows of sum 1.
    """
    cell = torch.arange(length, device=start.device, dtype=torch.float64)
    first, count = (value.to(torch.float64).view(-1, 1, 1) for value in (start, extent))
    step = count / size
    place = torch.arange(size, device=start.device, dtype=torch.float64).view(1, -1, 1)
    centre = first + (place + 0.5) * step - 0.5
    weight = (1 - (centre - cell).abs() / step.clamp(min=1)).clamp(min=0)
    weight = weight * ((cell >= first) & (cell < first + count))
    return (weight / weight.sum(dim=-1, keepdim=True)).float()


def gaussian(sigma: Tensor, length: int) -> Tensor:
    """Gaussian blur of a line, mirrored nowhere: what lies outside has no weight.

    Args:
        sigma: Standard deviation in cells (B,), positive.
        length: Cells of the line.

    Returns:
        float32 matrices (B, length, length) with rows of sum 1.
    """
    cell = torch.arange(length, device=sigma.device, dtype=torch.float64)
    distance = (cell[:, None] - cell) / sigma.to(torch.float64).view(-1, 1, 1)
    weight = torch.exp(-distance.square() / 2)
    return (weight / weight.sum(dim=-1, keepdim=True)).float()


def resample(x: Tensor, starts: Tensor, extents: Tensor, size: tuple[int, ...]) -> Tensor:
    """Cut a box out of each sample and bring it to one size.

    Args:
        x: Floats (B, C, ...) with d axes after the channels.
        starts: Whole numbers (B, d).
        extents: Whole numbers (B, d), at least 1; the box must lie inside.
        size: d cells of the result.

    Returns:
        (B, C, *size).
    """
    for axis, cells in enumerate(size):
        matrix = interpolation(starts[:, axis], extents[:, axis], x.shape[2 + axis], cells)
        x = along(x, matrix, 2 + axis)
    return x

# SPDX-License-Identifier: Apache-2.0
"""Building blocks of the samplers: block sizes, block positions, index lists of equal length.

A block in a d-dimensional grid is asked to have ``n = scale * prod(grid)`` cells. Its sides are
proportional to ``(a_1, ..., a_{d-1}, 1)`` with aspects ``a``; in two dimensions that is I-JEPA's
``h = sqrt(n a)``, ``w = sqrt(n / a)``, in one dimension an interval. A side that would leave the grid
is cut to it and the other sides grow, so that long thin grids still get blocks of the asked size.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from conjoin.core.distributed import all_reduce_min
from conjoin.core.random import fold, key, randint, uniform

__all__ = (
    "block_cells",
    "block_map",
    "block_sides",
    "check_count",
    "check_grid",
    "check_range",
    "common_length",
    "draw",
    "draw_sides",
    "extreme_sides",
    "place",
    "random_subset",
    "stream",
)


def check_count(owner: object, name: str, value: int, least: int) -> None:
    """Refuse a number below ``least``."""
    if value < least:
        raise ValueError(f"{type(owner).__name__}: {name} is {value}; it must be at least {least}.")


def check_range(
    owner: object, name: str, bounds: tuple[float, float], *, least: float = 0.0, most: float = math.inf
) -> None:
    """Refuse bounds that are not two ascending numbers in (least, most]."""
    if len(bounds) != 2 or not least < bounds[0] <= bounds[1] <= most or math.isinf(bounds[1]):
        limit = f"({least:g}, {most:g}]" if math.isfinite(most) else f"above {least:g}"
        raise ValueError(
            f"{type(owner).__name__}: {name} is {tuple(bounds)}; it must be (low, high) {limit}, low <= high."
        )


def check_grid(owner: object, grid: tuple[int, ...], dims: int | None = None) -> None:
    """Refuse an empty grid or one of the wrong number of axes."""
    if not grid or min(grid) < 1 or (dims is not None and len(grid) != dims):
        wanted = "one or more axes" if dims is None else f"{dims} axes"
        raise ValueError(
            f"{type(owner).__name__}: the token grid is {tuple(grid)}; it needs {wanted} with at least one "
            "token each."
        )


def stream(keys: Tensor, purpose: str) -> Tensor:
    """Independent keys for another purpose, one per key."""
    return fold(key(0, purpose), keys)


def draw(step_key: int, purpose: str, count: int) -> list[float]:
    """Uniform numbers in [0, 1) that a whole batch shares; on the CPU, so nothing waits."""
    return list(uniform(stream(torch.tensor(step_key), purpose), count).tolist())


def block_sides(grid: tuple[int, ...], scale: float, aspects: Sequence[float]) -> tuple[int, ...]:
    """Sides of a block of about ``scale * prod(grid)`` cells (see the module's text).

    Args:
        grid: Tokens per axis, d axes.
        scale: Share of the grid.
        aspects: d - 1 sides relative to the last one.

    Returns:
        d sides, each from 1 to the grid's.
    """
    cells = scale * math.prod(grid)
    shape = (*aspects, 1.0)
    sides: dict[int, float] = {}
    while len(sides) < len(grid):
        free = [axis for axis in range(len(grid)) if axis not in sides]
        # The axes still free share what the cut ones leave of the volume.
        volume = cells / math.prod(sides.values()) / math.prod(shape[axis] for axis in free)
        unit = volume ** (1 / len(free))
        cut = {axis: float(grid[axis]) for axis in free if unit * shape[axis] >= grid[axis]}
        sides |= cut or {axis: unit * shape[axis] for axis in free}
    return tuple(min(grid[axis], max(1, round(sides[axis]))) for axis in range(len(grid)))


def draw_sides(
    grid: tuple[int, ...], scale: tuple[float, float], aspect: tuple[float, float], numbers: Sequence[float]
) -> tuple[int, ...]:
    """Sides for a scale and d - 1 aspects drawn uniformly; takes d numbers in [0, 1)."""
    aspects = [aspect[0] + u * (aspect[1] - aspect[0]) for u in numbers[1 : len(grid)]]
    return block_sides(grid, scale[0] + numbers[0] * (scale[1] - scale[0]), aspects)


def extreme_sides(
    grid: tuple[int, ...], scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sides of the smallest and of the largest block that can be drawn, for checks.

    Looks at both ends of the scale and nine values per aspect: rounding makes the size uneven.
    """
    aspects = list(itertools.product([i / 8 for i in range(9)], repeat=len(grid) - 1))
    low, high = ([draw_sides(grid, scale, aspect, (end, *a)) for a in aspects] for end in (0.0, 1.0))
    return min(low, key=math.prod), max(high, key=math.prod)


def place(keys: Tensor, grid: tuple[int, ...], sides: tuple[int, ...], blocks: int) -> Tensor:
    """Corners of blocks, uniform over all places where a block fits, the last ones included.

    Args:
        keys: (B,).
        grid: Tokens per axis, d axes.
        sides: The block's sides.
        blocks: Blocks per key.

    Returns:
        (B, blocks, d) int64 corners.
    """
    room = torch.tensor([g - s + 1 for g, s in zip(grid, sides, strict=True)], device=keys.device)
    return randint(keys, blocks * len(grid), room.repeat(blocks)).view(*keys.shape, blocks, len(grid))


def block_cells(corners: Tensor, grid: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """Cells of blocks, ascending: corners (..., d) to token indices (..., prod(sides))."""
    index = torch.zeros(1, dtype=torch.int64, device=corners.device)
    start = torch.zeros_like(corners[..., 0])
    for axis, (length, side) in enumerate(zip(grid, sides, strict=True)):
        offsets = torch.arange(side, device=corners.device)
        index = (index.unsqueeze(-1) * length + offsets).flatten()
        start = start * length + corners[..., axis]
    return start.unsqueeze(-1) + index


def block_map(corners: Tensor, grid: tuple[int, ...], sides: tuple[int, ...]) -> Tensor:
    """Maps of blocks: corners (..., d) to bool (..., prod(grid))."""
    cells = block_cells(corners, grid, sides)
    return torch.zeros(*corners.shape[:-1], math.prod(grid), dtype=torch.bool, device=cells.device).scatter_(
        -1, cells, True
    )


def common_length(counts: Tensor) -> int:
    """The smallest of the counts over the batch and over all ranks."""
    return int(all_reduce_min(counts.min()))


def random_subset(allowed: Tensor, keys: Tensor, length: int) -> Tensor:
    """``length`` of the allowed cells per row, each subset equally likely, ascending.

    Args:
        allowed: (B, N) bool with at least ``length`` true cells in each row.
        keys: (B,).
        length: Cells to keep.

    Returns:
        (B, length) int64. For one key the subset of a smaller length lies inside that of a larger.
    """
    scores = uniform(keys, allowed.shape[-1]).masked_fill_(~allowed, 2.0)
    chosen = scores.topk(length, dim=-1, largest=False, sorted=False)
    return chosen.indices.sort(dim=-1).values

# SPDX-License-Identifier: Apache-2.0
import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conjoin.core.masking.cells import (
    block_cells,
    block_map,
    block_sides,
    common_length,
    draw,
    extreme_sides,
    place,
    random_subset,
    stream,
)
from conjoin.core.random import fold

KEYS = fold(3, torch.arange(4000))
grids = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("grid", "scale", "aspects", "sides"),
    [
        ((14, 14), 0.15, (1.0,), (5, 5)),  # sqrt(29.4) = 5.4
        ((16, 16), 0.2, (1.5,), (9, 6)),  # sqrt(51.2 * 1.5) = 8.76, sqrt(51.2 / 1.5) = 5.84
        ((14, 14), 1.0, (1.0,), (14, 14)),
        ((20,), 0.25, (), (5,)),
        ((8, 8, 8), 0.125, (1.0, 1.0), (4, 4, 4)),
        ((4, 100), 0.15, (1.0,), (4, 15)),  # a square of 60 cells would be 8 x 8: cut to 4, widened to 15
        ((2, 3, 50), 0.5, (1.0, 1.0), (2, 3, 25)),
        ((5, 5), 0.001, (1.0,), (1, 1)),
    ],
)
def test_block_sides(grid, scale, aspects, sides):
    assert block_sides(grid, scale, aspects) == sides


@given(grids, st.floats(0.01, 1.0), st.floats(0.2, 5.0))
def test_sides_fit_the_grid_and_nearly_have_the_asked_volume(grid, scale, aspect):
    sides = block_sides(grid, scale, [aspect] * (len(grid) - 1))
    assert all(1 <= side <= length for side, length in zip(sides, grid, strict=True))
    # Rounding moves each side by at most a half, or up to 1: a block of less than a cell may still be long.
    asked = scale * math.prod(grid)
    longest = max(aspect, 1 / aspect) ** (len(grid) - 1)
    assert math.prod(max(0, side - 0.5) for side in sides) <= max(asked, longest) + 1e-6
    assert (
        math.prod(min(length, side + 0.5) for side, length in zip(sides, grid, strict=True)) >= asked - 1e-6
    )


@given(grids, st.data())
def test_block_cells_are_the_cells_of_the_block(grid, data):
    sides = tuple(data.draw(st.integers(1, length)) for length in grid)
    corner = tuple(data.draw(st.integers(0, g - s)) for g, s in zip(grid, sides, strict=True))
    inside = {
        tuple(c + o for c, o in zip(corner, offset, strict=True))
        for offset in itertools.product(*map(range, sides))
    }
    expected = [i for i, cell in enumerate(itertools.product(*map(range, grid))) if cell in inside]
    assert block_cells(torch.tensor([corner]), grid, sides).tolist() == [expected]
    assert block_map(torch.tensor([corner]), grid, sides).nonzero()[:, 1].tolist() == expected


def test_corners_are_uniform_over_all_places():
    corners = place(KEYS, (4, 6), (3, 2), 2)
    assert corners.shape == (4000, 2, 2)
    for block in range(2):
        seen = Counter(map(tuple, corners[:, block].tolist()))
        assert set(seen) == set(itertools.product(range(2), range(5)))
        chi2 = sum((n - 400) ** 2 / 400 for n in seen.values())
        assert chi2 < 27.9  # 9 degrees of freedom, p = 0.001
    # The two blocks of a sample are independent: equal corners in a tenth of the samples.
    assert 0.07 < (corners[:, 0] == corners[:, 1]).all(-1).float().mean() < 0.13


def test_random_subset_is_uniform_over_subsets_of_the_allowed_cells():
    allowed = torch.tensor([True, False, True, True, False, True]).expand(4000, -1)
    subset = random_subset(allowed, KEYS, 2)
    seen = Counter(map(tuple, subset.tolist()))
    assert set(seen) == set(itertools.combinations((0, 2, 3, 5), 2))
    assert sum((n - 4000 / 6) ** 2 / (4000 / 6) for n in seen.values()) < 20.5  # 5 degrees, p = 0.001
    larger = random_subset(allowed, KEYS, 3)
    assert all(set(a) < set(b) for a, b in zip(subset.tolist(), larger.tolist(), strict=True))


def test_small_helpers():
    assert common_length(torch.tensor([5, 3, 9])) == 3
    assert draw(7, "a", 3) == draw(7, "a", 3) != draw(7, "b", 3)
    assert draw(7, "a", 2) == draw(7, "a", 3)[:2]
    assert not (stream(KEYS, "a") == stream(KEYS, "b")).any()
    low, high = extreme_sides((14, 14), (0.15, 0.2), (0.75, 1.5))
    assert math.prod(low) < 0.15 * 196
    assert math.prod(high) > 0.2 * 196

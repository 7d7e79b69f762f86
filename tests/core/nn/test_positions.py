# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.nn import LearnedPositions, resize_positions, sincos_positions


def by_loops(grid, dim):
    axes, half = len(grid), dim // (2 * len(grid))
    rows = []
    for cell in torch.cartesian_prod(*[torch.arange(size) for size in grid]).view(-1, axes).tolist():
        row = []
        for place in reversed(cell):
            row += [math.sin(place * 10000 ** (-k / half)) for k in range(half)]
            row += [math.cos(place * 10000 ** (-k / half)) for k in range(half)]
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize(("grid", "dim"), [((5,), 6), ((3, 4), 16), ((2, 3, 4), 24), ((2, 2, 2, 3), 16)])
def test_sincos_equals_loops(grid, dim):
    torch.testing.assert_close(sincos_positions(grid, dim), by_loops(grid, dim))


def test_sincos_known_token():
    expected = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01), 0, 0, 1, 1]
    torch.testing.assert_close(sincos_positions((3, 3), 8)[1], torch.tensor(expected))


def test_sincos_cuts_a_width_that_the_axes_do_not_divide():
    table = sincos_positions((2, 3, 4), 32)
    assert table.shape == (24, 32)
    torch.testing.assert_close(table, sincos_positions((2, 3, 4), 36)[:, :32])


@pytest.mark.parametrize(
    ("grid", "dim", "match"),
    [((), 8, "at least one cell"), ((3, 0), 8, "at least one cell"), ((3, 3), 3, "at least 4")],
)
def test_sincos_guards(grid, dim, match):
    with pytest.raises(ValueError, match=match):
        sincos_positions(grid, dim)


def test_resize_keeps_a_plane_that_is_linear_in_the_cells():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    table = torch.stack((rows, columns), dim=-1).view(1, 48, 2)
    new = resize_positions(table, (6, 8), (12, 16)).view(12, 16, 2)
    # Cell centres: new cell i lies at (i + 1/2) / 2 - 1/2 of the old grid; borders are clamped. Cubics with
    # a = -0.75 bend a plane by up to 0.047, a shift of the centres would be 0.25.
    torch.testing.assert_close(new[4:-4, 0, 0], (torch.arange(4, 8) + 0.5) / 2 - 0.5, atol=0.05, rtol=0)
    torch.testing.assert_close(new[0, 4:-4, 1], (torch.arange(4, 12) + 0.5) / 2 - 0.5, atol=0.05, rtol=0)
    assert resize_positions(table, (6, 8), (6, 8)) is table


def test_resize_refuses_a_class_token():
    with pytest.raises(ValueError, match="17 rows, but the grid"):
        resize_positions(torch.zeros(1, 17, 4), (4, 4), (8, 8))


def test_learned_positions():
    positions = LearnedPositions((2, 3), 4)
    keep = torch.tensor([[5, 5]])
    positions(keep).sum().backward()
    assert positions().shape == (6, 4)
    assert positions.table.grad[5].tolist() == [2.0] * 4
    assert not positions.table.grad[:5].any()

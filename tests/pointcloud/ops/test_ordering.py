# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.pointcloud.ops import gather_points, morton_code, morton_order, nearest_order


def walk(points, start):
    """One cloud: on to the nearest unvisited point, by plain lists."""
    points = points.double()
    left, order = set(range(len(points))) - {start}, [start]
    while left:
        apart = (points - points[order[-1]]).norm(dim=-1)
        order.append(min(left, key=lambda i: (float(apart[i]), i)))
        left.remove(order[-1])
    return order


@pytest.mark.parametrize(("start", "expected"), [("min", [3, 0, 2, 4, 1]), ("first", [0, 2, 4, 1, 3])])
def test_the_papers_line(start, expected):
    line = torch.tensor([0, 3, 1, -1.5, 2.2])[None, :, None] * torch.tensor([1.0, 0, 0])
    assert nearest_order(line, start).tolist() == [expected]


@pytest.mark.parametrize("start", ["min", "first"])
def test_equals_the_walk(start):
    points = torch.randn(8, 24, 3)
    starts = points.sum(-1).argmin(1).tolist() if start == "min" else [0] * 8
    assert nearest_order(points, start).tolist() == [walk(p, s) for p, s in zip(points, starts, strict=True)]


@pytest.mark.parametrize("order", [nearest_order, morton_order])
def test_is_a_permutation_of_any_cloud(order):
    sphere = torch.nn.functional.normalize(torch.randn(16, 64, 3), dim=-1)
    clouds = torch.cat((sphere, torch.zeros(1, 64, 3), sphere[:1].round()))  # a point 64 times; many ties
    found = order(clouds)
    assert torch.equal(found.sort(1).values, torch.arange(64).expand(18, -1))
    step = gather_points(sphere, found[:16]).diff(dim=1).norm(dim=-1).mean()
    assert step < 0.7 * sphere.diff(dim=1).norm(dim=-1).mean()


def test_unknown_start():
    with pytest.raises(ValueError, match=r"start must be one of .*, not 'last'"):
        nearest_order(torch.zeros(1, 4, 3), "last")


@pytest.mark.parametrize("depth", [1, 8, 16])
def test_morton_code_interleaves_bits(depth):
    cells = torch.randint(2**depth, (50, 3))
    batch = torch.randint(9, (50,))
    for (x, y, z), b, code in zip(
        cells.tolist(), batch.tolist(), morton_code(cells, depth, batch).tolist(), strict=True
    ):
        bits = [
            (x >> i & 1) << (3 * i + 2) | (y >> i & 1) << (3 * i + 1) | (z >> i & 1) << (3 * i)
            for i in range(depth)
        ]
        assert code == sum(bits) + (b << (3 * depth))
    top = torch.full((1, 3), 2**depth - 1, dtype=torch.int32)
    assert morton_code(top, depth).item() == 2 ** (3 * depth) - 1


def test_morton_order_ignores_place_and_size():
    points = torch.rand(3, 40, 3, dtype=torch.float64)
    assert torch.equal(morton_order(points), morton_order(points * 4 + 8))


@pytest.mark.parametrize("depth", [0, 17])
def test_morton_depth(depth):
    with pytest.raises(ValueError, match=f"between 1 and 16 bits per axis, not {depth}"):
        morton_code(torch.zeros(1, 3, dtype=torch.int64), depth)

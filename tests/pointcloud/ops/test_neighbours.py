# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.pointcloud.ops import ball_query, gather_points, group, knn, neighbours


def squared(query, points):
    return (query.double()[:, :, None] - points.double()[:, None]).square().sum(-1)


@pytest.mark.parametrize("cells", [1 << 24, 90, 7])
def test_knn_equals_a_full_sort_in_any_chunks(cells, monkeypatch):
    monkeypatch.setattr(neighbours, "_CELLS", cells)
    query, points = torch.randn(3, 11, 3), torch.randn(3, 40, 3)
    found = knn(query, points, 9)
    expected = squared(query, points).sort(-1)
    assert torch.equal(found.index, expected.indices[..., :9])
    torch.testing.assert_close(found.distance.double(), expected.values[..., :9].sqrt())


def test_a_point_is_its_own_neighbour_at_distance_zero():
    # Far from the origin the expanded square would lose all digits of these distances.
    points = torch.rand(2, 300, 3) * 1e-3 + 100
    found = knn(points, points, 2)
    assert torch.equal(found.distance[..., 0], torch.zeros(2, 300))
    assert torch.equal(gather_points(points, found.index[..., 0]), points)


def test_knn_ignores_autocast():
    points = torch.randn(2, 100, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = knn(points, points, 5)
    assert found.distance.dtype == torch.float32
    assert torch.equal(found.index, knn(points, points, 5).index)


def test_ball_query_equals_the_loop():
    query, points, radius, k = torch.randn(2, 7, 3), torch.randn(2, 60, 3), 0.9, 12
    apart = squared(query, points).sqrt()
    found = ball_query(query, points, radius, k)
    some_short = False
    for b in range(2):
        for q in range(7):
            order = apart[b, q].argsort().tolist()
            inside = [i for i in order if apart[b, q, i] <= radius][:k]
            some_short |= len(inside) < k
            inside = inside or order[:1]
            expected = inside + [inside[0]] * (k - len(inside))
            assert found.index[b, q].tolist() == expected
            assert found.distance[b, q].tolist() == pytest.approx([float(apart[b, q, i]) for i in expected])
    assert some_short


def test_group_is_relative_to_its_centre_and_carries_the_gradient():
    points = torch.randn(2, 50, 3, requires_grad=True)
    centers = points[:, :4].detach()
    patches = group(points, centers, 6)
    assert patches.shape == (2, 4, 6, 3)
    torch.testing.assert_close(patches[:, :, 0], torch.zeros(2, 4, 3))
    assert (patches.norm(dim=-1).diff(dim=-1) >= 0).all()
    patches.sum().backward()
    counts = torch.stack(
        [knn(centers, points, 6).index[b].flatten().bincount(minlength=50) for b in range(2)]
    )
    torch.testing.assert_close(points.grad, counts[..., None].expand(-1, -1, 3).float())


def test_group_in_a_ball_fills_the_unit_ball():
    points = torch.rand(2, 500, 3)
    patches = group(points, points[:, :5], 16, radius=0.2)
    assert patches.norm(dim=-1).max() <= 1 + 1e-6
    torch.testing.assert_close(patches[..., :2, :], group(points, points[:, :5], 2) / 0.2)


@pytest.mark.parametrize("index_shape", [(2, 4), (2, 4, 3)])
def test_gather_points(index_shape):
    values, index = torch.randn(2, 9, 5), torch.randint(9, index_shape)
    expected = torch.stack([values[b][index[b]] for b in range(2)])
    assert torch.equal(gather_points(values, index), expected)


def test_refuses_what_does_not_fit():
    points = torch.zeros(2, 5, 3)
    with pytest.raises(ValueError, match="k must be between 1 and the 5 points of a cloud, not 6"):
        knn(points, points, 6)
    with pytest.raises(ValueError, match="k must be between 1"):
        group(points, points, 0)
    with pytest.raises(ValueError, match=r"not \(1, 5, 3\) and \(2, 5, 3\)"):
        knn(points[:1], points, 2)
    with pytest.raises(ValueError, match=r"not \(2, 5, 2\) and \(2, 5, 3\)"):
        knn(points[..., :2], points, 2)
    with pytest.raises(ValueError, match="radius must be positive, not 0"):
        ball_query(points, points, 0.0, 2)

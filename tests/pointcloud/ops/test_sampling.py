# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.pointcloud.ops import farthest_point_sampling


def by_loop(points, count, start):
    """One cloud, float64, all distances from scratch in every round."""
    chosen = [start]
    while len(chosen) < count:
        apart = ((points[:, None] - points[chosen][None]) ** 2).sum(-1).min(1).values
        chosen.append(int(apart.argmax()))
    return chosen


@pytest.mark.parametrize(
    ("batch", "size", "count", "channels"), [(3, 50, 17, 3), (2, 5, 5, 3), (1, 30, 1, 3), (2, 20, 8, 2)]
)
def test_equals_the_loop(batch, size, count, channels):
    points = torch.randn(batch, size, channels, dtype=torch.float64)
    start = torch.randint(size, (batch,))
    found = farthest_point_sampling(points, count, start)
    assert found.tolist() == [by_loop(p, count, int(s)) for p, s in zip(points, start, strict=True)]
    assert farthest_point_sampling(points, count)[:, 0].tolist() == [0] * batch


def test_from_a_corner_of_a_square_to_the_opposite_one():
    square = torch.tensor([[[0.5, 0.5, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]])
    assert farthest_point_sampling(square, 2, torch.tensor([1])).tolist() == [[1, 4]]
    assert set(farthest_point_sampling(square, 5, torch.tensor([1]))[0].tolist()) == {0, 1, 2, 3, 4}


def test_duplicates_give_repeats_of_the_first_point():
    points = torch.tensor([[1.0, 2, 3], [4, 5, 6]]).repeat(4, 1)[None]
    found = farthest_point_sampling(points, 6)[0].tolist()
    assert found == [0, 1, 0, 0, 0, 0]


def test_a_cloud_does_not_depend_on_its_batch():
    points = torch.randn(4, 64, 3)
    whole = farthest_point_sampling(points, 16)
    assert torch.equal(whole[2:3], farthest_point_sampling(points[2:3], 16))
    wide = points.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(whole, farthest_point_sampling(wide, 16))


def test_half_precision_is_widened():
    points = torch.rand(2, 200, 3).half()
    assert torch.equal(farthest_point_sampling(points, 64), farthest_point_sampling(points.float(), 64))


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="between 1 and the 5 points of a cloud, not 6"):
        farthest_point_sampling(torch.zeros(1, 5, 3), 6)
    with pytest.raises(ValueError, match="not 0"):
        farthest_point_sampling(torch.zeros(1, 5, 3), 0)
    with pytest.raises(ValueError, match=r"must be \(B, N, 3\)"):
        farthest_point_sampling(torch.zeros(5, 3), 2)
    with pytest.raises(ValueError, match=r"one index per cloud, not \(2,\)"):
        farthest_point_sampling(torch.zeros(1, 5, 3), 2, torch.tensor([0, 1]))

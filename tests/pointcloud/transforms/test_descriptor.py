# SPDX-License-Identifier: Apache-2.0
import torch

from conjoin.core import random
from conjoin.pointcloud.transforms import center, rotate, shape_descriptor, unit_sphere


def clouds():
    return unit_sphere(center(torch.randn(4, 200, 3) * torch.tensor([1.0, 0.5, 0.1])))


def test_values_against_plain_statistics():
    cloud = clouds()
    found = shape_descriptor(cloud)
    assert found.shape == (4, 41)
    values = torch.stack([torch.linalg.svdvals(c - c.mean(0)).flip(0) ** 2 / 200 for c in cloud])
    torch.testing.assert_close(found[:, :3], values)
    torch.testing.assert_close(found[:, 3:6], values.sqrt())
    torch.testing.assert_close(found[:, 9:].sum(1), torch.ones(4))
    histogram = torch.histc(cloud[0].norm(dim=-1), 32, 0, 1) / 200
    torch.testing.assert_close(found[0, 9:], histogram, atol=0.011, rtol=0)  # a point on a border


def test_ignores_order_and_all_but_the_extents_ignore_rotation():
    cloud = clouds()
    found = shape_descriptor(cloud)
    torch.testing.assert_close(shape_descriptor(cloud.flip(1)), found)
    turned = shape_descriptor(rotate(cloud, random.fold(3, torch.arange(4)), "x"))
    torch.testing.assert_close(turned[:, :6], found[:, :6])
    torch.testing.assert_close(turned[:, 9:], found[:, 9:], atol=0.011, rtol=0)


def test_one_point_is_finite():
    assert torch.isfinite(shape_descriptor(torch.zeros(2, 30, 3))).all()

# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core import random
from conjoin.pointcloud.transforms import center, rotate, stretch, subsample, unit_sphere


def keys(count=5, seed=0):
    return random.fold(random.key(seed, "test"), torch.arange(count))


@pytest.mark.parametrize("how", ["random", "fps"])
def test_subsample_takes_different_points_of_each_cloud_by_key(how):
    cloud = torch.randn(5, 40, 3)
    some = subsample(cloud, 12, keys(), how)
    assert some.shape == (5, 12, 3)
    for ours, theirs in zip(some.tolist(), cloud.tolist(), strict=True):
        assert len({tuple(p) for p in ours}) == 12
        assert {tuple(p) for p in ours} <= {tuple(p) for p in theirs}
    assert torch.equal(subsample(cloud[3:], 12, keys()[3:], how), some[3:])
    assert not torch.equal(subsample(cloud, 12, keys(seed=1), how), some)
    assert torch.equal(subsample(cloud, 12, None, how), subsample(cloud, 12, None, how))


def test_subsample_of_everything_is_everything():
    cloud = torch.randn(5, 40, 3)
    assert torch.equal(subsample(cloud, 40, keys()), cloud)


def test_stretch_gives_each_cloud_and_axis_its_own_factor():
    cloud = torch.rand(500, 4, 3) + 1
    factors = stretch(cloud, keys(500), 0.8, 1.2) / cloud
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert factors.min() >= 0.8 - 1e-6
    assert factors.max() <= 1.2 + 1e-6
    assert factors.mean() == pytest.approx(1, abs=0.01)
    assert len(factors[:, 0].unique()) > 1400


def test_center_and_unit_sphere():
    cloud = center(torch.randn(5, 40, 3) * 9 + 4)
    torch.testing.assert_close(cloud.mean(1), torch.zeros(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(unit_sphere(cloud).norm(dim=-1).amax(1), torch.ones(5))
    point = torch.ones(1, 4, 3)
    assert torch.equal(unit_sphere(center(point)), torch.zeros(1, 4, 3))


@pytest.mark.parametrize(("axis", "about"), [("x", 0), ("y", 1), ("z", 2)])
def test_rotate_turns_about_its_axis_by_all_angles(axis, about):
    cloud = torch.randn(400, 6, 3, dtype=torch.float64)
    turned = rotate(cloud, keys(400), axis)
    torch.testing.assert_close(turned[..., about], cloud[..., about])
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(cloud, cloud))
    first, second = (about + 1) % 3, (about + 2) % 3
    before, after = (torch.complex(c[..., first], c[..., second]) for c in (cloud, turned))
    angle = (after / before).angle()
    torch.testing.assert_close(angle[:, :1].expand_as(angle), angle)
    assert angle.min() < -0.9 * math.pi
    assert angle.max() > 0.9 * math.pi


def test_inputs_stay_as_they_were():
    cloud = torch.randn(5, 40, 3)
    before = cloud.clone()
    rotate(unit_sphere(center(stretch(subsample(cloud, 40, keys()), keys(), 0.5, 2))), keys())
    assert torch.equal(cloud, before)


def test_refuses():
    cloud = torch.randn(2, 10, 3)
    with pytest.raises(ValueError, match="11 points cannot be taken from clouds of 10"):
        subsample(cloud, 11, keys(2))
    with pytest.raises(ValueError, match=r"how must be one of .*, not 'grid'"):
        subsample(cloud, 4, keys(2), "grid")
    with pytest.raises(ValueError, match=r"axis must be one of .*, not 'w'"):
        rotate(cloud, keys(2), "w")

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from conjoin.pointcloud.encoders import SEQUENCES, PatchPointNet, cut_patches
from conjoin.pointcloud.ops import nearest_order


def test_parameters_are_the_papers():
    assert sum(p.numel() for p in PatchPointNet().parameters()) == 493_824


@pytest.mark.parametrize("training", [True, False])
def test_equals_the_plain_computation(training):
    """Concatenate the patch's maximum to every point, as the paper writes it."""
    net = PatchPointNet(12, (4, 6, 8)).double().train(training)
    for norm in (net.first_conv[1], net.second_conv[1]):
        nn.init.normal_(norm.weight)
        norm.running_mean.normal_()
    patches = torch.randn(3, 5, 7, 3, dtype=torch.float64)
    features = net.first_conv(patches.reshape(-1, 3)).view(15, 7, 6)
    joined = torch.cat((features.max(1, keepdim=True).values.expand(-1, 7, -1), features), dim=-1)
    expected = net.second_conv(joined.reshape(-1, 12)).view(3, 5, 7, 12).max(2).values
    torch.testing.assert_close(net(patches), expected)
    cotangent, wanted = torch.randn_like(expected), list(net.parameters())
    ours = torch.autograd.grad(net(patches), wanted, cotangent)
    torch.testing.assert_close(ours, torch.autograd.grad(expected, wanted, cotangent))


def test_does_not_depend_on_the_order_of_points():
    net = PatchPointNet(12, (4, 6, 8)).eval()
    patches = torch.randn(2, 3, 9, 3)
    torch.testing.assert_close(net(patches[:, :, torch.randperm(9)]), net(patches))


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_patches_are_neighbours_of_centres_of_the_cloud(sequence):
    cloud = torch.randn(2, 100, 3)
    centers, points = cut_patches(cloud, 8, 5, sequence=sequence)
    assert centers.shape == (2, 8, 3)
    assert points.shape == (2, 8, 5, 3)
    assert torch.equal(points[:, :, 0], torch.zeros(2, 8, 3))
    for b in range(2):
        for g in range(8):
            nearest = (cloud[b] - centers[b, g]).norm(dim=-1).sort().values[:5]
            torch.testing.assert_close(points[b, g].norm(dim=-1), nearest)
    plain = cut_patches(cloud, 8, 5, sequence="none").centers
    assert {tuple(c) for c in centers[0].tolist()} == {tuple(c) for c in plain[0].tolist()}
    if sequence == "nearest_min":
        assert nearest_order(centers).tolist() == [list(range(8))] * 2


def test_the_first_point_moves_the_centres():
    cloud = torch.randn(2, 100, 3)
    start = torch.tensor([7, 9])
    assert torch.equal(
        cut_patches(cloud, 8, 5, sequence="none", start=start).centers[:, 0], cloud[[0, 1], start]
    )


def test_balls_are_in_units_of_their_radius():
    cloud = torch.rand(2, 400, 3)
    assert cut_patches(cloud, 8, 16, radius=0.1).points.norm(dim=-1).max() <= 1 + 1e-6


def test_duplicates_and_flat_clouds_stay_finite():
    cloud = torch.zeros(2, 64, 3)
    cloud[1, :32] = 1
    net = PatchPointNet(12, (4, 6, 8))
    patches = cut_patches(cloud, 8, 16)
    assert torch.isfinite(net(patches.points)).all()


def test_autocast_does_not_reach_the_geometry():
    cloud = torch.randn(2, 100, 3)
    with torch.autocast("cpu", torch.bfloat16):
        low = cut_patches(cloud, 8, 5)
    for ours, theirs in zip(low, cut_patches(cloud, 8, 5), strict=True):
        assert torch.equal(ours, theirs)


def test_refuses_what_cannot_be_cut():
    with pytest.raises(
        ValueError,
        match="A cloud of 20 points cannot be cut into 32 patches of 8 points: it needs at least 32",
    ):
        cut_patches(torch.zeros(1, 20, 3), 32, 8)
    with pytest.raises(ValueError, match="needs at least 24 points"):
        cut_patches(torch.zeros(1, 20, 3), 4, 24)
    with pytest.raises(ValueError, match=r"must be \(B, N, 3\), not \(1, 20, 6\)"):
        cut_patches(torch.zeros(1, 20, 6), 4, 4)
    with pytest.raises(ValueError, match=r"sequence must be one of .*, not 'hilbert'"):
        cut_patches(torch.zeros(1, 20, 3), 4, 4, sequence="hilbert")
    with pytest.raises(ValueError, match=r"three positive widths, not \(4, 6\)"):
        PatchPointNet(12, (4, 6))

# SPDX-License-Identifier: Apache-2.0
"""The oracle is the dense convolution, read at the active outputs."""

import pytest
import torch
import torch.nn.functional as F

from conjoin.pointcloud.ops import (
    SparseConv3d,
    SparseVoxels,
    SubmanifoldConv3d,
    sparse_conv,
    submanifold_rules,
)

SHAPE = (6, 9, 8)


def voxels(count=120, channels=5, dtype=torch.float64):
    cells = torch.randperm(2 * 6 * 9 * 8)[:count]
    places = torch.stack(torch.unravel_index(cells, (2, *SHAPE)), dim=1)
    return SparseVoxels(torch.randn(count, channels, dtype=dtype, requires_grad=True), places, SHAPE, 2)


def oracle(given, layer, stride, padding):
    return F.conv3d(given.dense(), layer.weight.permute(0, 4, 1, 2, 3), layer.bias, stride, padding)


def at(dense, places):
    b, z, y, x = places.unbind(1)
    return dense[b, :, z, y, x]


def compare(given, layer, stride, padding):
    """Values and all gradients against the dense convolution."""
    out = layer(given)
    dense = oracle(given, layer, stride, padding)
    torch.testing.assert_close(out.features, at(dense, out.places))
    cotangent = torch.randn_like(out.features)
    wanted = [given.features, layer.weight, *([] if layer.bias is None else [layer.bias])]
    ours = torch.autograd.grad(out.features, wanted, cotangent)
    theirs = torch.autograd.grad(at(dense, out.places), wanted, cotangent)
    torch.testing.assert_close(ours, theirs)
    return out, dense


@pytest.mark.parametrize(("kernel", "bias"), [((3, 3, 3), True), ((1, 3, 5), False), ((1, 1, 1), True)])
def test_submanifold_equals_dense(kernel, bias):
    given = voxels()
    out, _ = compare(
        given, SubmanifoldConv3d(5, 4, kernel, bias, dtype=torch.float64), 1, [k // 2 for k in kernel]
    )
    assert torch.equal(out.places, given.places)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((3, 3, 3), (2, 2, 2), (1, 1, 1)), ((3, 3, 3), (2, 2, 2), (0, 1, 1)), ((3, 1, 1), (2, 1, 1), (0, 0, 0))],
)
def test_strided_equals_dense_and_misses_no_output(kernel, stride, padding):
    given = voxels()
    layer = SparseConv3d(5, 4, kernel, stride, padding, bias=False, dtype=torch.float64)
    out, dense = compare(given, layer, stride, padding)
    assert out.shape == dense.shape[2:]
    torch.testing.assert_close(out.dense(), dense)  # without a bias everything else is zero


def test_a_stack_of_layers_equals_dense():
    given = voxels()
    first, second = SubmanifoldConv3d(5, 6, dtype=torch.float64), SparseConv3d(6, 3, dtype=torch.float64)
    mask = given.with_features(torch.ones(120, 1, dtype=torch.float64)).dense()
    dense = F.conv3d(
        oracle(given, first, 1, 1) * mask, second.weight.permute(0, 4, 1, 2, 3), second.bias, 2, 1
    )
    out = second(first(given))
    torch.testing.assert_close(out.features, at(dense, out.places))


def test_gradcheck():
    given = voxels(20, 2)
    rules = given.submanifold((3, 3, 3))
    weight = torch.randn(3, 3, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: sparse_conv(x, w, rules), (given.features, weight))


def test_order_of_voxels_does_not_matter():
    given = voxels()
    layer = SubmanifoldConv3d(5, 4, dtype=torch.float64)
    order = torch.randperm(120)
    shuffled = SparseVoxels(given.features[order], given.places[order], SHAPE, 2)
    torch.testing.assert_close(layer(shuffled).features, layer(given).features[order])


def test_autocast_computes_in_low_precision():
    given = voxels(dtype=torch.float32)
    layer = SubmanifoldConv3d(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(given).features
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(given).features, rtol=0.05, atol=0.05)
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_first_weights_and_names():
    layer = SparseConv3d(4, 8)
    bound = (27 * 4) ** -0.5
    assert 0.9 * bound < layer.weight.abs().max() <= bound
    before = layer.weight.clone()
    layer.reset_parameters()
    assert not torch.equal(before, layer.weight)
    assert repr(layer) == "SparseConv3d(4, 8, kernel=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1))"
    assert repr(SubmanifoldConv3d(4, 8)) == "SubmanifoldConv3d(4, 8, kernel=(3, 3, 3))"


def test_refuses_weights_of_another_kernel():
    given = voxels()
    rules = submanifold_rules(given.places, SHAPE, 2)
    with pytest.raises(ValueError, match=r"must be \(C_out, 3, 3, 3, 5\), not \(4, 1, 3, 3, 5\)"):
        sparse_conv(given.features, torch.zeros(4, 1, 3, 3, 5, dtype=torch.float64), rules)

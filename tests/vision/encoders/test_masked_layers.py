# SPDX-License-Identifier: Apache-2.0
"""Masked layers, against loops over visible positions and against a network changed in place."""

import copy
import itertools

import pytest
import timm
import torch
from timm.layers import LayerNorm2d
from torch import nn

from conjoin.core import random
from conjoin.vision.encoders.masked_layers import Visible, run


def network(name, **options):
    with random.seeded(0):
        return timm.create_model(name, num_classes=0, in_chans=1, **options)


RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 8, 12, 16), "zero_init_last": False}
NETWORKS = [
    ("resnet18", RESNET),
    ("resnet18", RESNET | {"output_stride": 8}),
    ("resnet50", RESNET),
    ("resnet10t", {"zero_init_last": False}),
    ("test_convnext", {}),
    ("test_convnext", {"conv_mlp": True}),
]


def cells(size=3, grid=(2, 2), dtype=torch.bool):
    torch.manual_seed(1)
    found = torch.rand(size, 1, *grid) < 0.5
    found[:, :, 0, 0], found[:, :, -1, -1] = True, False
    return found.to(dtype)


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 1), (1, 2, 2)])
def test_a_convolution_reads_visible_positions_alone(stride, dilation, groups):
    """Sum over taps, position by position; hidden and outside positions contribute nothing."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 3, stride, dilation, dilation, groups, dtype=torch.float64)
    visible = Visible(cells(2, (2, 4)))
    x = torch.randn(2, 2, 8, 16, dtype=torch.float64)
    inside = visible.cells[:, 0].repeat_interleave(4, 1).repeat_interleave(4, 2)
    found = run(conv, visible.hide(x), visible)
    expected = torch.zeros_like(found)
    for b, o, i, j in itertools.product(*map(range, expected.shape)):
        if not inside[b, i * stride, j * stride]:
            continue
        value = conv.bias[o].clone()
        for c, u, v in itertools.product(range(2 // groups), range(3), range(3)):
            row, column = i * stride + (u - 1) * dilation, j * stride + (v - 1) * dilation
            if 0 <= row < 8 and 0 <= column < 16 and inside[b, row, column]:
                source = c + (o // (4 // groups)) * (2 // groups)
                value += conv.weight[o, c, u, v] * x[b, source, row, column]
        expected[b, o, i, j] = value
    torch.testing.assert_close(found, expected)


HIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, LayerNorm2d)


class Gathering(nn.Module):
    """Takes the place of a batch norm: BatchNorm1d on the gathered visible vectors."""

    def __init__(self, norm, active):
        super().__init__()
        self.norm = nn.BatchNorm1d(norm.num_features)
        self.norm.load_state_dict(norm.state_dict())
        self.active = active

    def forward(self, x):
        rows, chosen = x.permute(0, 2, 3, 1), spread(self.active, x)[:, 0].bool()
        out = torch.zeros_like(rows)
        out[chosen] = self.norm(rows[chosen])
        return out.permute(0, 3, 1, 2)


def spread(active, x):
    return nn.functional.interpolate(active.float(), x.shape[-2:], mode="nearest")


def in_place(net, active):
    """Another way to the same network: hooks that hide after each layer, gathering norms in place."""
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, leaf = name.rpartition(".")
            setattr(net.get_submodule(parent), leaf, Gathering(module, active))
        elif type(module).__name__ == "ConvNeXtBlock":
            module.drop_path.register_forward_hook(lambda _, args, y: y * spread(active, y))
        elif isinstance(module, HIDING) and not name.endswith(("fc1", "fc2")):
            module.register_forward_hook(lambda _, args, y: y * spread(active, y))
    return net


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_network_is_the_one_changed_in_place(name, options):
    net = network(name, **options).train()
    torch.manual_seed(2)
    x = torch.randn(3, 1, 64, 64)
    grid = (8, 8) if options.get("output_stride") == 8 else (2, 2)
    visible = Visible(cells(3, grid))
    reference = in_place(net, visible.cells)
    found = run(net, visible.hide(x), visible)
    expected = reference.forward_features(x * spread(visible.cells, x))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert found.abs().max() > 0.1
    slope = torch.randn_like(found)
    (found * slope).sum().backward()
    (expected * slope).sum().backward()
    theirs = {key.replace("norm.", "") if "bn" in key else key: p for key, p in reference.named_parameters()}
    stem = next(iter(net.named_parameters()))
    torch.testing.assert_close(stem[1].grad, theirs[stem[0]].grad, rtol=1e-2, atol=1e-2)
    if name == "resnet18":
        inner = reference.layer4[0].bn2.norm
        torch.testing.assert_close(net.layer4[0].bn2.running_mean, inner.running_mean)
        torch.testing.assert_close(net.layer4[0].bn2.running_var, inner.running_var, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_all_visible_is_the_dense_network(name, options):
    net = network(name, **options).train()
    x = torch.randn(2, 1, 64, 64)
    dense = copy.deepcopy(net).forward_features(x)
    everything = Visible(torch.ones(2, 1, *dense.shape[-2:], dtype=torch.bool))
    assert (run(copy.deepcopy(net), x, everything) - dense).abs().max() < 1e-4
    torch.testing.assert_close(run(copy.deepcopy(net), x, Visible()), dense)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_hidden_pixels_do_not_leak_and_hidden_cells_are_zero(name, options):
    net = network(name, **options).train()
    grid = (8, 8) if options.get("output_stride") == 8 else (2, 2)
    visible = Visible(cells(3, grid))
    x, other = torch.randn(2, 3, 1, 64, 64)
    mixed = torch.where(spread(visible.cells, x).bool(), x, other)
    found = run(copy.deepcopy(net), visible.hide(x), visible)
    assert torch.equal(run(copy.deepcopy(net), visible.hide(mixed), visible), found)
    assert (found[(spread(visible.cells, found) == 0).expand_as(found)] == 0).all()
    if name in (
        "resnet18",
        "resnet50",
    ):  # their stem reads across the border: hiding the pixels is part of the method
        raw, unlike = run(copy.deepcopy(net), x, visible), run(copy.deepcopy(net), mixed, visible)
        assert (raw - unlike).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_max_pooling_is_the_layer_itself_and_keeps_the_layout(dtype):
    """Value and gradient to the bit, ties after a ReLU included; the next convolution gets plain strides."""
    torch.manual_seed(0)
    x = torch.randn(3, 5, 8, 8).relu().to(dtype)
    visible = Visible(cells())
    pool = nn.MaxPool2d(3, 2, 1)
    mine, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = run(pool, mine, visible), visible.hide(pool(plain))
    assert torch.equal(found, expected)
    assert found.is_contiguous()
    weights = torch.randn(found.shape).to(dtype)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(mine.grad, plain.grad)


def test_forwards_may_overlap():
    """The mask is no property of the network: a second forward inside the first changes nothing."""
    net = network("resnet18", **RESNET).eval()
    first, second = Visible(cells(1)), Visible(~cells(1))
    x = torch.randn(1, 1, 64, 64)
    alone = run(net, first.hide(x), first)
    handle = net.layer2[0].conv1.register_forward_pre_hook(
        lambda module, args: None if args[0].shape[1] != 8 else nested()
    )

    def nested():
        handle.remove()
        run(net, second.hide(x), second)

    assert torch.equal(run(net, first.hide(x), first), alone)


def test_guards():
    with pytest.raises(ValueError, match=r"map of 1 x \(7, 8\) cannot be masked by 1 x \(2, 2\) cells"):
        Visible(cells(1)).at(torch.zeros(1, 3, 7, 8))
    with pytest.raises(ValueError, match="3 x"):
        Visible(cells(1)).at(torch.zeros(3, 3, 8, 8))
    with pytest.raises(ValueError, match="InstanceNorm2d cannot be run on a part"):
        run(nn.InstanceNorm2d(2), torch.zeros(1, 2, 4, 4), Visible(cells(1)))
    x, visible = torch.zeros(1, 1, 64, 64), Visible(cells(1))
    with pytest.raises(ValueError, match="without channel attention"):
        run(network("seresnet18"), x, visible)
    with pytest.raises(ValueError, match="not ConvNeXt V2"):
        run(network("test_convnext", use_grn=True), x, visible)

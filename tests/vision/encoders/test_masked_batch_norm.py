# SPDX-License-Identifier: Apache-2.0
"""Batch norm over visible positions, against ``BatchNorm1d`` on the gathered vectors."""

import copy

import pytest
import torch
from torch import nn

from conjoin.vision.encoders.masked_batch_norm import masked_batch_norm


def gathered(norm, x, mask):
    """The definition: gather the visible vectors of the batch, normalise, scatter into zeros."""
    one = nn.BatchNorm1d(norm.num_features, norm.eps, norm.momentum, dtype=x.dtype)
    one.load_state_dict(norm.state_dict())
    one.train(norm.training)
    rows = x.permute(0, 2, 3, 1)
    chosen = mask[:, 0].bool()
    out = torch.zeros_like(rows)
    out[chosen] = one(rows[chosen])
    return out.permute(0, 3, 1, 2), one


def made(dtype=torch.float64, **options):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5, dtype=dtype, **options)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(3, 5, 4, 6, dtype=dtype) * 3 + 1
    return norm, x, (torch.rand(3, 1, 4, 6) < 0.4).to(dtype)


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_value_gradient_and_statistics_are_those_of_the_gathered_vectors(momentum):
    norm, x, mask = made(momentum=momentum)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, one = gathered(norm, theirs, mask)
    found = masked_batch_norm(norm, ours, mask)
    torch.testing.assert_close(found, expected)
    assert (found[(mask == 0).expand_as(found)] == 0).all()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)
    slope = torch.randn_like(x)
    (found * slope).sum().backward()
    (expected * slope).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(norm.weight.grad, one.weight.grad)
    torch.testing.assert_close(norm.bias.grad, one.bias.grad)


def test_hidden_positions_move_nothing():
    norm, x, mask = made()
    other = copy.deepcopy(norm)
    found = masked_batch_norm(norm, x, mask)
    again = masked_batch_norm(other, x + 1000 * (1 - mask), mask)
    assert torch.equal(found, again)
    assert torch.equal(norm.running_mean, other.running_mean)
    assert torch.equal(norm.running_var, other.running_var)


def test_all_visible_is_the_layer_itself():
    norm, x, _ = made()
    other = copy.deepcopy(norm)
    torch.testing.assert_close(masked_batch_norm(norm, x), other(x))
    torch.testing.assert_close(norm.running_var, other.running_var)


def test_evaluation_uses_running_statistics_and_keeps_them():
    norm, x, mask = made()
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    expected, _ = gathered(norm, x, mask)
    torch.testing.assert_close(masked_batch_norm(norm, x, mask), expected)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_gradcheck():
    norm, x, mask = made()
    torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(
            _Layer(norm), {"norm.weight": w, "norm.bias": b}, (x, mask)
        ),
        (x[:2, :, :2, :2].clone().requires_grad_(), norm.weight, norm.bias),
    )


class _Layer(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x, mask):
        return masked_batch_norm(self.norm, x, mask[: len(x), :, : x.shape[2], : x.shape[3]])


def test_statistics_are_float32_inside_autocast():
    norm, x, mask = made(torch.float32)
    x = x + 300  # bfloat16 has a step of 2 there
    other = copy.deepcopy(norm)
    with torch.autocast("cpu", torch.bfloat16):
        found = masked_batch_norm(norm, x.bfloat16(), mask)
    expected = masked_batch_norm(other, x.bfloat16().float(), mask)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(norm.running_mean, other.running_mean)


def halves(rank, world, rows):
    norm, x, mask = made()
    part = slice(0, rows) if rank == 0 else slice(rows, None)
    own = x[part].clone().requires_grad_()
    out = masked_batch_norm(norm, own, mask[part], sync=True)
    (out * torch.arange(x.numel()).view_as(x)[part].sin()).sum().backward()
    return out.detach(), own.grad, norm.running_var, norm.weight.grad


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("rows", [1, 2])
def test_two_ranks_share_their_statistics(ddp, rows):
    norm, x, mask = made()
    x.requires_grad_()
    out = masked_batch_norm(norm, x, mask)
    (out * torch.arange(x.numel()).view_as(x).sin()).sum().backward()
    found = ddp(halves, rows)
    torch.testing.assert_close(torch.cat([f[0] for f in found]), out.detach())
    torch.testing.assert_close(torch.cat([f[1] for f in found]), x.grad)
    for part in found:
        torch.testing.assert_close(part[2], norm.running_var)
    torch.testing.assert_close(found[0][3] + found[1][3], norm.weight.grad)

# SPDX-License-Identifier: Apache-2.0
"""Batch norm over ranks: one process against torch, two against one, gradients and statistics included."""

import pytest
import torch
from torch import nn

from conjoin.core.methods.batch_norm import BatchNorm


@pytest.mark.parametrize(("scale", "shift"), [(True, True), (True, False), (False, False)])
def test_one_process_is_torchs(scale, shift):
    x = torch.randn(9, 4) * 3 + 1
    ours, theirs = BatchNorm(4, scale=scale, shift=shift), nn.BatchNorm1d(4)
    for _ in range(3):
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert len(list(ours.parameters())) == scale + shift


def test_one_row_cannot_be_normalised():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNorm(3)(torch.ones(1, 3))


def ranks_part(rank, world):
    x = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.linspace(0.5, 2, 4, dtype=torch.float64)
    rows = slice(0, 7) if rank == 0 else slice(7, 11)
    own = x[rows].clone().requires_grad_()
    layer = BatchNorm(4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
    out = layer(own)
    # Each rank's loss, of which the mean over ranks is minimised.
    (world * (out**3).sum() / 11).backward()
    return out.detach(), own.grad, layer.weight.grad, layer.running_mean, layer.running_var


@pytest.mark.ddp
def test_two_processes_with_unequal_rows_are_one(ddp):
    results = ddp(ranks_part)
    x = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer = nn.BatchNorm1d(4, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, 4))
    out = layer(x)
    ((out**3).sum() / 11).backward()
    torch.testing.assert_close(torch.cat([r[0] for r in results]), out.detach(), rtol=0, atol=1e-12)
    # The averaging of DDP divides by the number of ranks.
    torch.testing.assert_close(torch.cat([r[1] for r in results]) / 2, x.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(sum(r[2] for r in results) / 2, layer.weight.grad, rtol=0, atol=1e-12)
    for result in results:
        torch.testing.assert_close(result[3], layer.running_mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(result[4], layer.running_var, rtol=0, atol=1e-12)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.pointcloud.encoders import PointPredictor


def test_parameters_are_the_papers_without_the_unused_norm():
    assert sum(p.numel() for p in PointPredictor().parameters()) == 2_843_072


def test_equals_the_plain_computation_block_by_block():
    net = PointPredictor(16, 8, 2, 2, init="xavier").double()
    torch.nn.init.normal_(net.mask_token)
    context, centers = torch.randn(2, 3, 16, dtype=torch.float64), torch.randn(2, 9, 3, dtype=torch.float64)
    visible = torch.tensor([[0, 1, 2], [6, 7, 8]])
    targets = torch.tensor([[[3, 4], [4, 5]], [[0, 1], [2, 3]]])
    out = net(context, visible, targets, centers)
    assert out.shape == (2, 2, 2, 16)
    for b in range(2):
        place = net.positions(centers[b])
        for m in range(2):
            tokens = torch.cat(
                (
                    net.predictor_embed(context[b]) + place[visible[b]],
                    net.mask_token[0] + place[targets[b, m]],
                )
            )
            tokens = tokens[None]
            for block in net.blocks:
                tokens = block(tokens)
            torch.testing.assert_close(out[b, m], net.predictor_proj(net.norm(tokens[0, 3:])))


def test_the_mask_token_starts_at_zero_and_learns():
    net = PointPredictor(16, 8, 1, 2)
    assert net.mask_token.abs().max() == 0
    net(
        torch.randn(1, 2, 16), torch.tensor([[0, 1]]), torch.tensor([[[2, 3]]]), torch.randn(1, 4, 3)
    ).square().sum().backward()
    assert net.mask_token.grad.abs().max() > 0


def test_refuses_no_blocks():
    with pytest.raises(ValueError, match="at least one block, got depth 0"):
        PointPredictor(depth=0)

# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.audio.encoders import SpectrogramViT, regularized
from conjoin.audio.encoders.regularized import choose_tokens
from conjoin.core import random


def encoder(**options):
    with random.seeded(3):
        return SpectrogramViT(16, 16, 8, 8, depth=2, heads=2, init="xavier", **options)


@torch.no_grad()
def by_hand(block, x, may_look):
    """One block on (N, D) in float64, query by query; ``may_look[i]`` are the keys of query i."""
    dim, heads = x.shape[1], block.attn.heads
    width = dim // heads
    normed = torch.nn.functional.layer_norm(x, (dim,), block.norm1.weight, block.norm1.bias, 1e-6)
    q, k, v = (normed @ block.attn.qkv.weight.T + block.attn.qkv.bias).split(dim, dim=1)
    out = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i, keys in enumerate(may_look):
            scores = [float(q[i, part] @ k[j, part]) / math.sqrt(width) for j in keys]
            weights = [math.exp(s - max(scores)) for s in scores]
            for j, w in zip(keys, weights, strict=True):
                out[i, part] += w / sum(weights) * v[j, part]
    x = x + out @ block.attn.proj.weight.T + block.attn.proj.bias
    return x + block.mlp(block.norm2(x))


@pytest.mark.parametrize("mode", ["keys", "self"])
def test_three_tokens_by_hand(mode):
    net = encoder().double()
    x = torch.randn(1, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([[[True, False, True]], [[False, True, True]]])
    out = regularized(net.blocks, net.norm, x, chosen, mode)[0]
    row = x[0]
    for block, layer in zip(net.blocks, chosen[:, 0].tolist(), strict=True):
        if mode == "keys":
            look = [[j for j in range(3) if not layer[j]]] * 3
        else:
            look = [[j for j in range(3) if j != i or not layer[i]] for i in range(3)]
        row = by_hand(block, row, look)
    torch.testing.assert_close(out, net.norm(row), rtol=1e-10, atol=1e-10)


def test_all_but_one_token_left_out():
    chosen = choose_tokens(4, 50, 3, 1 - 1 / 3, torch.device("cpu"))
    assert (chosen.sum(dim=-1) == 2).all()
    # The draw differs over layers and samples, and reaches every token.
    assert len({tuple(row) for row in chosen.flatten(0, 1).tolist()}) == 3
    assert (choose_tokens(1, 9, 4, 0.99, torch.device("cpu")).sum(dim=-1) == 3).all()
    assert (choose_tokens(2, 5, 100, 0.1, torch.device("cpu")).sum(dim=-1) == 10).all()


def test_plain_attention_without_it_bit_for_bit():
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    net = encoder()
    plain = net(x)
    net.regularize(0.5)
    net.eval()
    assert torch.equal(net(x), plain)
    net.train()
    assert not torch.equal(net(x), plain)
    net.regularize(0.0)
    assert torch.equal(net(x), plain)


def test_draws_follow_the_global_generator_and_have_gradients():
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    net = encoder()
    net.regularize(0.5, "self")

    def run(seed):
        with random.seeded(seed):
            return net(x)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    run(1).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_guards():
    with pytest.raises(ValueError, match=r"at least 0 and below 1, not 1.0"):
        encoder().regularize(1.0)
    with pytest.raises(ValueError, match="must be keys or self, not 'values'"):
        encoder().regularize(0.1, "values")

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.core.nn import AttentivePool, MeanPool


def test_mean_leaves_padding_out():
    tokens = torch.arange(12.0).view(2, 3, 2)
    padding = torch.tensor([[False, False, True], [True, True, True]])
    assert MeanPool()(tokens, padding).tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert MeanPool()(tokens)[0].tolist() == [2.0, 3.0]


def test_attentive_equals_one_query_over_valid_tokens():
    with random.seeded(4):
        pool = AttentivePool(8, 2).double()
        for parameter in pool.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    padding = torch.tensor([[False] * 3 + [True] * 2, [False] * 5])
    got = pool(tokens, padding)
    assert got.shape == (2, 8)
    for b, count in ((0, 3), (1, 5)):
        k, v = pool.kv(pool.norm1(tokens[b, :count])).chunk(2, dim=-1)
        q = pool.q(pool.query[0, 0])
        seen = [torch.softmax(k[:, s] @ q[s] / 2, 0) @ v[:, s] for s in (slice(0, 4), slice(4, 8))]
        y = pool.query[0, 0] + pool.proj(torch.cat(seen))
        torch.testing.assert_close(got[b], y + pool.mlp(pool.norm2(y)))
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(pool(tokens[:, order]), pool(tokens))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="3 heads do not divide dim 8"):
        AttentivePool(8, 3)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.core.nn import Block, RotaryPositions, gather_tokens


@pytest.fixture(autouse=True)
def _keyed():
    with random.seeded(2):
        yield


def loud(module):
    """Weights large enough that attention is far from uniform."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return module.double()


@pytest.mark.parametrize("kind", ["slice", "index"])
@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_queries_and_index_give_rows_of_the_full_output(kind, rope, shared):
    block = loud(Block(16, 2, layer_scale=0.3))
    rows = torch.randn(7, 16, dtype=torch.float64)
    index = torch.randint(0, 7, (3, 6))
    tokens = rows[index]
    rotation = RotaryPositions((6,), 8, dtype=torch.float64)() if rope else None
    queries = slice(2, None) if kind == "slice" else torch.tensor([[0, 3], [5, 5], [2, 1]])
    full = block(tokens, rope=rotation)
    expected = full[:, queries] if kind == "slice" else gather_tokens(full, queries)
    given = (rows, index) if shared else (tokens, None)
    got = block(given[0], rope=rotation, queries=queries, index=given[1])
    torch.testing.assert_close(got, expected)


def test_hidden_width_survives_ratios_that_are_not_exact():
    assert Block(1408, 16, 48 / 11, device="meta").mlp.fc1.out_features == 6144
    for hidden in range(50, 200):
        assert Block(49, 7, hidden / 49, device="meta").mlp.fc1.out_features == hidden


def test_without_bias():
    block = Block(8, 2, bias=False)
    assert {name for name, _ in block.named_parameters()} == {
        *("norm1.weight", "attn.qkv.weight", "attn.proj.weight"),
        *("norm2.weight", "mlp.fc1.weight", "mlp.fc2.weight"),
    }

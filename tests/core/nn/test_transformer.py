# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.core.nn import Transformer


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


def test_padding_is_as_if_it_were_absent():
    model, x = loud(Transformer(16, 2, 4)), torch.randn(2, 6, 16, dtype=torch.float64)
    padding = torch.tensor([[False] * 4 + [True] * 2, [False] * 6])
    got = model(x, padding=padding)
    torch.testing.assert_close(got[0, :4], model(x[:1, :4])[0])
    torch.testing.assert_close(got[1], model(x[1:])[0])


def test_queries_reach_the_last_block_only():
    model, x = loud(Transformer(16, 3, 4)), torch.randn(2, 6, 16, dtype=torch.float64)
    torch.testing.assert_close(model(x, queries=slice(4, None)), model(x)[:, 4:])


def test_intermediate_ends_with_forward():
    model, x = loud(Transformer(16, 3, 4)), torch.randn(2, 6, 16, dtype=torch.float64)
    outputs = model.intermediate(x, 2)
    torch.testing.assert_close(outputs[1], model(x))
    torch.testing.assert_close(outputs[0], model.norm(model.blocks[1](model.blocks[0](x))))
    with pytest.raises(ValueError, match="between 1 and the 3 blocks"):
        model.intermediate(x, 4)


def test_depth_is_guarded():
    with pytest.raises(ValueError, match="got depth 0"):
        Transformer(12, 0, 3)


def test_without_bias_and_with_quieter_branch_ends():
    torch.manual_seed(0)
    plain = Transformer(64, depth=2, heads=4, bias=False, residual_gain=0.25)
    assert not any("bias" in name for name, _ in plain.named_parameters())
    assert sum(p.numel() for p in plain.parameters()) == 2 * (12 * 64 * 64 + 2 * 64) + 64
    for name, p in plain.named_parameters():
        if "norm" not in name:
            ends = name.endswith(("attn.proj.weight", "mlp.fc2.weight"))
            assert p.detach().std().item() == pytest.approx(0.005 if ends else 0.02, rel=0.05), name
    tokens = torch.randn(2, 5, 64)
    rows = torch.tensor([[3, 1], [0, 4]])
    torch.testing.assert_close(
        plain(tokens, queries=rows), plain(tokens)[torch.arange(2)[:, None], rows], rtol=1e-4, atol=1e-5
    )

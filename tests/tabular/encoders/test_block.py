# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from conjoin.tabular.encoders import PostNormBlock, PostNormTransformer


def torchs_layer(block, dim, heads, hidden):
    """PyTorch's own post-norm layer with the weights of a block: an independent implementation."""
    layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout=0.0, batch_first=True)
    names = {
        "self_attn.in_proj_weight": "qkv.weight",
        "self_attn.in_proj_bias": "qkv.bias",
        "self_attn.out_proj.weight": "proj.weight",
        "self_attn.out_proj.bias": "proj.bias",
    }
    state = block.state_dict()
    mine = {name: state[names.get(name, name.replace("linear", "fc"))] for name in layer.state_dict()}
    layer.load_state_dict(mine)
    return layer


def test_block_is_pytorchs_post_norm_layer():
    torch.manual_seed(1)
    block = PostNormBlock(12, 3, 20)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(block(x), torchs_layer(block, 12, 3, 20)(x))


def test_transformer_ends_in_norm_linear_norm():
    torch.manual_seed(1)
    model = PostNormTransformer(8, 3, 2, 16)
    x = torch.randn(2, 4, 8)
    hidden = x
    for block in model.blocks:
        hidden = block(hidden)
    torch.testing.assert_close(model(x), model.out_norm(model.fc(model.norm(hidden))))
    outputs = model.intermediate(x, 3)
    assert torch.equal(outputs[-1], model(x))
    torch.testing.assert_close(outputs[0], model.out_norm(model.fc(model.norm(model.blocks[0](x)))))


def test_layers_do_not_start_as_copies():
    model = PostNormTransformer(8, 2, 2, 16)
    assert not torch.equal(model.blocks[0].qkv.weight, model.blocks[1].qkv.weight)
    assert model.blocks[0].qkv.weight.abs().max() <= (6 / 32) ** 0.5  # Glorot over (24, 8)
    assert PostNormTransformer(64, 1, 2, 256).blocks[0].fc1.weight.std().item() == pytest.approx(
        0.02, rel=0.05
    )


def test_dropout_only_in_training():
    torch.manual_seed(0)
    model = PostNormTransformer(8, 2, 2, 16, dropout=0.5)
    x = torch.randn(2, 4, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_guards():
    with pytest.raises(ValueError, match="3 heads do not divide dim 8"):
        PostNormBlock(8, 3, 16)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), not 1"):
        PostNormBlock(8, 2, 16, dropout=1.0)
    with pytest.raises(ValueError, match="at least one block, got depth 0"):
        PostNormTransformer(8, 0, 2, 16)
    with pytest.raises(ValueError, match="between 1 and the 1 blocks"):
        PostNormTransformer(8, 1, 2, 16).intermediate(torch.zeros(1, 2, 8), 2)

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.nn import Block
from conjoin.pointcloud.encoders import DropPath, RegularisedBlock


def test_without_rates_and_in_evaluation_it_is_the_plain_block():
    plain = Block(16, 2, norm_eps=1e-5)
    tokens = torch.randn(3, 7, 16)
    for rates in ({}, {"dropout": 0.5, "attention_dropout": 0.5, "drop_path": 0.5}):
        block = RegularisedBlock(16, 2, **rates).eval()
        block.load_state_dict(plain.state_dict())
        torch.testing.assert_close(block(tokens), plain(tokens))
        some = block(tokens, queries=slice(4, None))
        torch.testing.assert_close(some, plain(tokens)[:, 4:])


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "drop_path"])
def test_each_rate_changes_training(rate):
    torch.manual_seed(0)
    block = RegularisedBlock(16, 2, init="xavier", **{rate: 0.5})
    tokens = torch.randn(8, 7, 16)
    with torch.no_grad():
        assert not torch.equal(block(tokens), block(tokens))
        torch.manual_seed(3)
        first = block(tokens)
        torch.manual_seed(3)
        assert torch.equal(first, block(tokens))
        assert torch.equal(block.eval()(tokens), block(tokens))


def test_attention_dropout_leaves_out_what_padding_hides():
    torch.manual_seed(0)
    block = RegularisedBlock(16, 2, attention_dropout=0.3, init="xavier")
    tokens, padding = torch.randn(2, 6, 16), torch.zeros(2, 6, dtype=torch.bool)
    padding[:, 4:] = True
    changed = tokens.clone()
    changed[:, 4:] += 5
    outputs = []
    for given in (tokens, changed):
        torch.manual_seed(1)
        outputs.append(block(given, padding)[:, :4])
    torch.testing.assert_close(*outputs)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(4000, 3, 2))
    kept = out[:, 0, 0]
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(out, kept[:, None, None].expand_as(out))
    assert out.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "drop_path"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_refuses_rates(rate, value):
    with pytest.raises(ValueError, match=rf"{rate} must lie in \[0, 1\), not {value}"):
        RegularisedBlock(16, 2, **{rate: value})

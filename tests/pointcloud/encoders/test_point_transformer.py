# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.spec import build, describe
from conjoin.pointcloud.encoders import PointTransformer
from conjoin.pointcloud.encoders.tokenizer import Patches


def tiny(**options):
    return PointTransformer(8, 6, 16, 3, 2, widths=(4, 6, 8), init="xavier", **options)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_the_papers():
    with torch.device("meta"):
        encoder = PointTransformer()
    assert count(encoder.tokenizer) == 493_824
    assert count(encoder.positions) == 50_048
    assert count(encoder.transformer) == 21_294_336
    assert count(encoder) == 21_838_208


def test_contract():
    encoder = tiny().eval()
    cloud = torch.randn(3, 50, 3)
    out = encoder(cloud)
    assert (encoder.embed_dim, encoder.grid, out.shape) == (16, (8,), (3, 8, 16))
    assert encoder(cloud, keep=torch.tensor([[1, 4]] * 3)).shape == (3, 2, 16)
    layers = encoder.intermediate(cloud, 2)
    torch.testing.assert_close(layers[-1], out)
    assert len(layers) == 2
    assert not torch.allclose(layers[0], layers[1])
    assert describe(build(describe(encoder))) == describe(encoder)


def test_positions_are_added_before_every_block():
    encoder = tiny().eval()
    tokens, positions = torch.randn(2, 8, 16), torch.randn(2, 8, 16)
    expected = tokens
    for block in encoder.transformer.blocks:
        expected = block(expected + positions)
    torch.testing.assert_close(encoder.transformer(tokens, positions, norm=False), expected)
    torch.testing.assert_close(encoder.transformer(tokens, positions), encoder.transformer.norm(expected))


def test_is_equivariant_so_pooled_features_ignore_the_sequence():
    encoder = tiny().eval()
    patches = encoder.cut(torch.randn(3, 50, 3))
    order = torch.randperm(8)
    moved = Patches(patches.centers[:, order], patches.points[:, order])
    out = encoder.transformer(*encoder.tokenize(patches))
    torch.testing.assert_close(encoder.transformer(*encoder.tokenize(moved)), out[:, order])
    cloud = torch.randn(3, 50, 3)
    other = tiny(sequence="none").eval()
    other.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(other(cloud).amax(1), encoder(cloud).amax(1))
    torch.testing.assert_close(other(cloud).mean(1), encoder(cloud).mean(1))


def test_visible_tokens_see_nothing_else():
    encoder = tiny().eval()
    cloud = torch.randn(2, 50, 3)
    keep = torch.tensor([[0, 3, 5], [1, 2, 7]])
    tokens, positions = encoder.tokenize(encoder.cut(cloud))
    rows = torch.arange(2)[:, None]
    torch.testing.assert_close(
        encoder(cloud, keep), encoder.transformer(tokens[rows, keep], positions[rows, keep])
    )


def test_drop_path_rises_linearly():
    blocks = tiny(drop_path=0.2).transformer.blocks
    assert [block.ls1[1].rate if hasattr(block.ls1, "__getitem__") else 0 for block in blocks] == [
        0,
        0.1,
        0.2,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups and group_size must be at least 1"),
        ({"sequence": "z"}, "sequence must be one of"),
        ({"radius": 0.0}, "radius must be positive"),
        ({"depth": 0}, "at least one block"),
        ({"heads": 5}, "5 heads do not divide dim 384"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        PointTransformer(**options)


@pytest.mark.parametrize("layers", [0, 4])
def test_refuses_layers(layers):
    with pytest.raises(ValueError, match=f"between 1 and the 3 blocks of the encoder, got {layers}"):
        tiny().intermediate(torch.randn(1, 20, 3), layers)

# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.biosignal.encoders import VARIANTS, SignalViT, interleaved_positions


def small(**options):
    torch.manual_seed(0)
    return SignalViT(
        **({"length": 100, "patch": 5, "in_channels": 2, "dim": 16, "depth": 2, "heads": 2} | options)
    )


# Counted on the released code.
@pytest.mark.parametrize(
    ("name", "count"), [("vit_xs", 3_600_000), ("vit_s", 14_277_888), ("vit_b", 85_185_024)]
)
def test_parameter_counts_of_the_paper(name, count):
    variant = VARIANTS[name]
    with torch.device("meta"):
        encoder = SignalViT(dim=variant.dim, depth=variant.depth, heads=variant.heads)
    assert sum(p.numel() for p in encoder.parameters()) == count
    assert sum(t.numel() for t in encoder.state_dict().values()) == count
    assert encoder.grid == (200,)
    assert not any("bias" in key for key in encoder.state_dict())


def test_positions_interleave_sines_and_cosines():
    table = interleaved_positions(7, 6)
    for position in range(7):
        for pair in range(3):
            angle = position / 10000 ** (2 * pair / 6)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert torch.equal(interleaved_positions(4, 5), interleaved_positions(4, 6)[:, :5])


def test_context_sees_nothing_hidden_and_the_whole_does():
    encoder = small().eval()
    x = torch.randn(3, 2, 100)
    keep = torch.tensor([[0, 5, 6], [1, 2, 19], [3, 4, 5]])
    other = x.clone()
    for row in range(3):
        for patch in set(range(20)) - set(keep[row].tolist()):
            other[row, :, 5 * patch : 5 * patch + 5] += 1.0
    assert torch.equal(encoder(x, keep), encoder(other, keep))
    assert not torch.allclose(encoder(x), encoder(other))


def test_patches_can_be_hidden_behind_a_token():
    encoder, x = small().eval(), torch.randn(2, 2, 100)
    hidden = torch.zeros(2, 20, dtype=torch.bool)
    hidden[:, 3] = True

    def hide(patches):
        return patches.masked_fill(hidden[..., None], 0.5)

    other = x.clone()
    other[:, :, 15:20] += 1.0
    assert torch.equal(encoder(x, hide=hide), encoder(other, hide=hide))
    assert not torch.allclose(encoder(x, hide=hide), encoder(x))


def test_registers_take_part_and_are_dropped():
    encoder, x = small(registers=3), torch.randn(2, 2, 100)
    out = encoder(x)
    assert out.shape == (2, 20, 16)
    kept = small(registers=3, keep_registers=True)
    kept.load_state_dict(encoder.state_dict())
    assert kept(x).shape == (2, 23, 16)
    torch.testing.assert_close(kept(x)[:, 3:], out)
    torch.testing.assert_close(torch.stack(encoder.intermediate(x, 2))[1], out)
    assert encoder.intermediate(x, 2)[0].shape == (2, 20, 16)
    assert kept.intermediate(x)[0].shape == (2, 23, 16)
    with torch.no_grad():
        encoder.registers.normal_()
    assert not torch.allclose(encoder(x), out)
    assert small(registers=0).registers is None
    assert small(registers=0)(x).shape == (2, 20, 16)


def test_registers_have_no_position():
    encoder = small()
    assert torch.equal(encoder.embed(torch.zeros(1, 2, 100))[:, :1], encoder.registers)


def test_shorter_signals_use_the_first_positions():
    encoder, x = small(), torch.randn(2, 2, 50)
    expected = encoder(torch.cat((x, x), dim=2), torch.arange(10).expand(2, -1))
    torch.testing.assert_close(encoder(x), expected)
    with pytest.raises(ValueError, match="has 105 samples, but the encoder was made for at most 100"):
        encoder(torch.zeros(1, 2, 105))


def test_initial_weights():
    torch.manual_seed(0)
    encoder = SignalViT(dim=192, depth=8, heads=4)
    residual = 0.02 / math.sqrt(16)
    for name, p in encoder.named_parameters():
        if "norm" in name:
            assert (p == 1).all()
            continue
        expected = residual if name.endswith(("attn.proj.weight", "mlp.fc2.weight")) else 0.02
        assert p.detach().std() == pytest.approx(expected, rel=0.25 if "registers" in name else 0.03), name
    xavier = SignalViT(dim=192, depth=1, heads=4, init="xavier")
    assert xavier.blocks[0].attn.proj.weight.detach().std() == pytest.approx(192**-0.5, rel=0.05)


def test_meta_device_gets_its_weights_by_reset():
    from conjoin.core.nn import reset_all

    with torch.device("meta"):
        encoder = small()
    encoder.to_empty(device="cpu")
    reset_all(encoder)
    assert torch.equal(encoder.pos_embed, small().pos_embed)
    assert encoder(torch.randn(1, 2, 100)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "at least one block, got depth 0"),
        ({"length": 101}, "length 101 is no multiple of patch 5"),
        ({"registers": -1}, "There are -1 registers"),
        ({"registers": 0, "keep_registers": True}, "keep_registers needs at least one"),
        ({"heads": 3}, "heads do not divide"),
    ],
)
def test_guards(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_describes_itself():
    from conjoin.core.checkpoint import build, describe

    assert repr(build(describe(small(registers=2)))) == repr(small(registers=2))
    assert "length=100, grid=(20,), heads=2" in repr(small())

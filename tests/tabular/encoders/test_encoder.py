# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.spec import build, describe
from conjoin.tabular import RowEncoder
from conjoin.tabular.encoders import column_positions


def small(**options):
    torch.manual_seed(0)
    return RowEncoder(
        **({"numeric": 3, "categories": (2, 4), "dim": 8, "depth": 2, "heads": 2, "hidden": 16} | options)
    )


def rows(count=4):
    torch.manual_seed(1)
    codes = torch.stack((torch.arange(count) % 2, torch.arange(count) % 4), dim=1)
    return torch.cat((torch.randn(count, 3), codes), dim=1)


def test_positions_interleave_sines_and_cosines_of_base_100():
    table = column_positions(7, 6)
    for place in range(7):
        for pair in range(3):
            angle = place / 100 ** (2 * pair / 6)
            assert table[place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    with pytest.raises(ValueError, match="must be even, not 7"):
        column_positions(3, 7)


def test_grid_is_register_and_columns():
    encoder = small()
    assert (encoder.grid, encoder.columns, encoder.embed_dim) == ((6,), 5, 8)
    assert encoder(rows()).shape == (4, 6, 8)
    assert small(register=False).grid == (5,)
    assert small(register=False)(rows()).shape == (4, 5, 8)


def test_output_does_not_depend_on_hidden_columns():
    encoder, x = small(), rows()
    keep = torch.tensor([[0, 2, 4]]).expand(4, -1)  # register, second number, first category
    other = x.clone()
    other[:, [0, 2]] += 5
    other[:, 4] = 3 - other[:, 4]
    seen = encoder(x, keep)
    assert seen.shape == (4, 3, 8)
    assert torch.equal(seen, encoder(other, keep))
    other[:, 1] += 1
    assert not torch.allclose(seen, encoder(other, keep))


def test_keeping_all_is_keeping_none_back():
    encoder, x = small(), rows()
    torch.testing.assert_close(encoder(x, torch.arange(6).expand(4, -1)), encoder(x))
    assert torch.equal(encoder.intermediate(x, 2)[-1], encoder(x))


def test_describes_itself():
    encoder = small(missing=(1,), type_embedding=True)
    again = build(describe(encoder))
    assert [tuple(p.shape) for p in again.parameters()] == [tuple(p.shape) for p in encoder.parameters()]
    assert again.tokenizer.places == (1,)


def test_meta_device():
    with torch.device("meta"):
        encoder = small()
    encoder.to_empty(device="cpu")
    for module in encoder.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert torch.equal(encoder.pos_embed[0], column_positions(6, 8))
    assert encoder(rows()).isfinite().all()

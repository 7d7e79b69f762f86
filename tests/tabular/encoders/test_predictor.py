# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.nn import sincos_positions
from conjoin.tabular.encoders import ColumnPredictor


def made():
    torch.manual_seed(0)
    return ColumnPredictor(8, 7, dim=6, depth=2, heads=2, hidden=12)


CONTEXT_INDEX = torch.tensor([[0, 2, 5], [0, 1, 6]])
TARGETS = torch.tensor([[[1, 3], [3, 4]], [[2, 4], [3, 5]]])


def test_each_set_is_predicted_by_itself_from_context_and_places():
    """One sequence at a time, written out."""
    predictor = made()
    context = torch.randn(2, 3, 8)
    out = predictor(context, CONTEXT_INDEX, TARGETS)
    assert out.shape == (2, 2, 2, 8)
    positions = sincos_positions((7,), 6)
    for row in range(2):
        seen = predictor.predictor_embed(context[row]) + positions[CONTEXT_INDEX[row]]
        for number in range(2):
            hidden = predictor.mask_token[0] + positions[TARGETS[row, number]]
            tokens = predictor.transformer(torch.cat((seen, hidden)).unsqueeze(0))[0, 3:]
            expected = predictor.predictor_proj(predictor.predictor_norm(tokens))
            torch.testing.assert_close(out[row, number], expected)


def test_predictions_follow_their_context():
    predictor, context = made(), torch.randn(2, 3, 8)
    other = context.clone()
    other[1] += 1
    a, b = (predictor(part, CONTEXT_INDEX, TARGETS) for part in (context, other))
    assert torch.equal(a[0], b[0])
    assert not torch.allclose(a[1], b[1])


def test_padding_is_refused():
    with pytest.raises(ValueError, match="masks of one length per batch"):
        made()(torch.zeros(2, 3, 8), CONTEXT_INDEX, TARGETS, context_valid=CONTEXT_INDEX > 0)
    assert "tokens=7" in repr(made())

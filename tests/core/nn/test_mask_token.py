# SPDX-License-Identifier: Apache-2.0
"""One learned token in all hidden places."""

import torch

from conjoin.core.nn import MaskToken


def test_hidden_places_get_the_token_and_others_stay():
    layer = MaskToken(3)
    assert layer.token.tolist() == [0, 0, 0]
    with torch.no_grad():
        layer.token.copy_(torch.tensor([1.0, 2.0, 3.0]))
    tokens = torch.randn(2, 4, 3, requires_grad=True)
    hidden = torch.tensor([[True, False, False, True], [False, False, False, False]])
    out = layer(tokens, hidden)
    assert out[0, 0].tolist() == out[0, 3].tolist() == [1, 2, 3]
    torch.testing.assert_close(out[~hidden], tokens[~hidden])
    out.sum().backward()
    assert layer.token.grad.tolist() == [2, 2, 2]  # two places, each with a gradient of one
    assert tokens.grad[hidden].abs().sum() == 0
    layer.reset_parameters()
    assert layer.token.abs().sum() == 0


def test_it_takes_the_type_of_the_tokens():
    out = MaskToken(2)(torch.ones(1, 2, 2, dtype=torch.bfloat16), torch.tensor([[True, False]]))
    assert out.dtype == torch.bfloat16
    assert out.tolist() == [[[0, 0], [1, 1]]]

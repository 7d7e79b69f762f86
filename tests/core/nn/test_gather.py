# SPDX-License-Identifier: Apache-2.0
import torch

from conjoin.core import random
from conjoin.core.nn import gather_rows, gather_tokens


def test_gathers():
    with random.seeded(0):
        tokens, index = torch.randn(2, 5, 3), torch.randint(0, 5, (2, 4, 2))
    got = gather_tokens(tokens, index)
    for b in range(2):
        assert torch.equal(got[b], tokens[b][index[b]])
    assert torch.equal(gather_rows(tokens[0], index), tokens[0][index])


def test_low_precision_gradients_add_up_in_fp32():
    rows = torch.zeros(1, 2, dtype=torch.bfloat16, requires_grad=True)
    gather_rows(rows, torch.zeros(1000, dtype=torch.long)).sum().backward()
    assert rows.grad[0, 0] == 1000  # one by one in bfloat16 the sum stops at 256

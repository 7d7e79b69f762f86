# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import soft_cross_entropy
from conjoin.core.objectives.soft_targets import cross_entropy


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_equals_loops(scale):
    g = torch.Generator().manual_seed(0)
    logits = list(torch.randn(3, 4, 5, dtype=torch.float64, generator=g) * scale)
    targets = list(torch.softmax(torch.randn(2, 4, 5, dtype=torch.float64, generator=g), -1))
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    total = 0.0
    for i, j in pairs:
        for s, q in zip(logits[i].tolist(), targets[j].tolist(), strict=True):
            top = max(s)
            partition = top + math.log(sum(math.exp(v - top) for v in s))
            total += sum(w * (partition - v) for v, w in zip(s, q, strict=True))
    assert soft_cross_entropy(logits, targets, pairs).item() == pytest.approx(total / 16, rel=1e-12)


def test_views_without_a_partner_do_not_count():
    z = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    q = torch.softmax(z[1], -1)
    found = soft_cross_entropy([z[0], z[1] * float("nan")], [q], [(0, 0)])
    torch.testing.assert_close(found, soft_cross_entropy([z[0]], [q], [(0, 0)]))


def test_gradient_also_of_targets_that_do_not_add_up_to_one():
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, dtype=torch.float64, generator=g, requires_grad=True)
    targets = torch.rand(2, 3, 4, dtype=torch.float64, generator=g)
    assert torch.autograd.gradcheck(lambda scores: cross_entropy(scores, targets), (scores,))
    wanted = -(targets * torch.log_softmax(scores, -1)).sum(-1)
    torch.testing.assert_close(cross_entropy(scores, targets), wanted)

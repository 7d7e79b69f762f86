# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.nn.functional import normalize

from conjoin.core.objectives import SwAV, sinkhorn_knopp


def sample(views=3, rows=8, dim=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(views, rows, dim, dtype=torch.float64, generator=g) * 5


def build(**options):
    torch.manual_seed(0)
    objective = SwAV(4, 5, **options).double()
    objective.constrain()  # they were of unit length in float32
    return objective


def loop(objective, z, codes):
    prototypes = normalize(objective.prototypes.detach(), dim=1)
    scores = [(normalize(v, dim=1) @ prototypes.T / 0.1).tolist() for v in z]
    means = []
    for t, code in enumerate(codes):
        terms = []
        for v, view in enumerate(scores):
            if v == t:
                continue
            for s, q in zip(view, code.tolist(), strict=True):
                partition = math.log(sum(math.exp(x) for x in s))
                terms.append(sum(w * (partition - x) for x, w in zip(s, q, strict=True)))
        means.append(sum(terms) / len(terms))
    return sum(means) / len(means)


def test_equals_loops():
    objective, z = build(), sample()
    prototypes = objective.prototypes.detach()
    codes = [sinkhorn_knopp(normalize(v, dim=1) @ prototypes.T) for v in z[:2]]
    assert objective(z).loss.item() == pytest.approx(loop(objective, z, codes), rel=1e-10)


def test_codes_get_no_gradient():
    objective, z = build(), sample().requires_grad_()
    prototypes = objective.prototypes.detach().clone().requires_grad_()
    units = normalize(z, dim=2)
    codes = [sinkhorn_knopp(v @ prototypes.T) for v in units[:2]]
    log_p = torch.log_softmax(units @ prototypes.T / 0.1, dim=2)
    pairs = [(v, t) for t in range(2) for v in range(3) if v != t]
    wanted = -sum((codes[t] * log_p[v]).sum(1).mean() for v, t in pairs) / len(pairs)
    ours = torch.autograd.grad(objective(z).loss, [z, objective.prototypes])
    theirs = torch.autograd.grad(wanted, [z, prototypes])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_queue_joins_the_codes_once_it_is_full():
    objective = build(queue_length=12)
    batches = [sample(seed=s) for s in range(4)]
    prototypes = objective.prototypes.detach()
    seen = []
    for step, z in enumerate(batches):
        found = objective(z).loss.item()
        codes = []
        for t in range(2):
            rows = normalize(z[t], dim=1)
            old = (
                torch.cat([normalize(past[t], dim=1) for past in reversed(seen)])[:12]
                if step > 1
                else rows[:0]
            )
            codes.append(sinkhorn_knopp(torch.cat((rows, old)) @ prototypes.T)[:8])
        assert found == pytest.approx(loop(objective, z, codes), rel=1e-10)
        seen.append(z)
        assert objective.queued == min(12, 8 * (step + 1))
    newest = torch.cat([normalize(batches[3][0], dim=1), normalize(batches[2][0], dim=1)])[:12]
    torch.testing.assert_close(objective.queue[0], newest)


def test_queue_can_start_late():
    early, late = build(queue_length=8), build(queue_length=8, queue_start=2)
    losses = [[objective(sample(seed=s)).loss.item() for s in range(3)] for objective in (early, late)]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]
    assert losses[0][2] == losses[1][2]


def test_prototypes_are_frozen_at_first_and_kept_at_unit_length():
    objective = build(freeze_steps=1)
    for step in range(2):
        objective.prototypes.grad = None
        objective(sample()).loss.backward()
        gradient = objective.prototypes.grad
        assert (gradient is None or not gradient.any()) == (step == 0)
        with torch.no_grad():
            objective.prototypes.mul_(3)
    objective(sample())
    torch.testing.assert_close(objective.prototypes.norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_guards():
    with pytest.raises(ValueError, match="at least 2 views"):
        build()(sample(1))
    with pytest.raises(ValueError, match="prototypes"):
        SwAV(4, 0)
    with pytest.raises(ValueError, match="temperature"):
        SwAV(4, 3, epsilon=0)

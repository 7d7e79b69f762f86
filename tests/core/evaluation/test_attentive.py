# SPDX-License-Identifier: Apache-2.0
"""The attentive probe on tokens whose mean says nothing."""

import pytest
import torch

from conjoin.core.evaluation import Features, attentive_probe, linear_probe


def test_attentive_probe_finds_the_token_that_the_mean_hides() -> None:
    def sets(count: int, seed: int) -> Features:
        generator = torch.Generator().manual_seed(seed)
        label = torch.arange(count) % 2
        tokens = 0.3 * torch.randn(count, 9, 8, generator=generator)
        place = torch.randint(9, (count,), generator=generator)
        # The marked token carries the class as a sign; another carries the opposite, unmarked.
        sign = (2 * label - 1).float()
        tokens[torch.arange(count), place, 0] += 4
        tokens[torch.arange(count), place, 1] += 2 * sign
        tokens[torch.arange(count), (place + 1) % 9, 1] -= 2 * sign
        return Features(tokens, label, torch.arange(count))

    train, val, test = sets(256, 0), sets(64, 1), sets(64, 2)
    means = [Features(f.x.mean(1), f.label, f.index) for f in (train, val, test)]
    assert linear_probe(*means, classes=2).test < 0.75
    options = {"classes": 2, "epochs": 25, "lrs": [3e-3], "batch_size": 32, "heads": 4}
    state = torch.random.get_rng_state()
    first = attentive_probe(train, val, test, **options)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.test > 0.9
    assert first == attentive_probe(train, val, test, **options)


def test_guards() -> None:
    flat = Features(torch.ones(6, 4), torch.arange(6) % 2, torch.arange(6))
    with pytest.raises(ValueError, match=r"tokens \(N, T, D\)"):
        attentive_probe(flat, flat, flat, classes=2)
    tokens = Features(flat.x.unsqueeze(1), flat.label, flat.index)
    with pytest.raises(ValueError, match="at least one learning rate"):
        attentive_probe(tokens, tokens, tokens, classes=2, lrs=[])
    with pytest.raises(ValueError, match="one epoch"):
        attentive_probe(tokens, tokens, tokens, classes=2, epochs=0)

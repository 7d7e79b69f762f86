# SPDX-License-Identifier: Apache-2.0
"""The online head against autograd, and two ranks against one."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from conjoin.core import random
from conjoin.core.callbacks.linear_head import LinearHead


def test_head_takes_the_step_of_autograd_and_adamw() -> None:
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
    label = torch.tensor([0, 1, 2, -1] * 3)
    head = LinearHead(5, 3, key=random.key(0, "test"), lr=0.1, weight_decay=0.01)
    weight = head.weight.clone().requires_grad_()
    bias = head.bias.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=0.1, weight_decay=0.01)
    known = label >= 0
    for _ in range(3):
        # The stream repeats one batch, so its running averages are that batch's own.
        x = (z - z.mean(0)) / z.std(0, correction=0)
        optimizer.zero_grad()
        cross_entropy(x[known] @ weight.T + bias, label[known]).backward()
        optimizer.step()
        head.learn(z, label)
    torch.testing.assert_close(head.weight, weight.detach(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(head.bias, bias.detach(), rtol=1e-3, atol=1e-4)


def stream(rank: int, world: int) -> torch.Tensor:
    """A head fed half of each batch per rank, with unequal numbers of labels."""
    head = LinearHead(5, 3, key=random.key(0, "test"), lr=0.1)
    for step in range(4):
        z = torch.randn(10, 5, generator=torch.Generator().manual_seed(step))
        label = torch.tensor([-1, -1, -1, 0, 1, 2, 0, 1, 2, 1])
        mine = slice(5 * rank, 5 * rank + 5) if world == 2 else slice(None)
        head.learn(z[mine], label[mine])
    return head.weight


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_hold_the_head_of_one(ddp: Any) -> None:
    for weight in ddp(stream):
        torch.testing.assert_close(weight, stream(0, 1))


def test_scale_and_offset_of_the_features_do_not_matter() -> None:
    heads = [LinearHead(5, 3, key=random.key(0, "test")) for _ in range(2)]
    for step in range(5):
        z = torch.randn(12, 5, generator=torch.Generator().manual_seed(step))
        label = torch.arange(12) % 3
        heads[0].learn(z, label)
        heads[1].learn(z * 40 + 9, label)
    torch.testing.assert_close(heads[0].logits(z), heads[1].logits(z * 40 + 9), rtol=1e-3, atol=1e-3)


def test_state_goes_back_in_place() -> None:
    one, other = (LinearHead(5, 3, key=random.key(0, name)) for name in ("one", "other"))
    z, label = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    one.learn(z, label)
    other.load_state_dict(one.state_dict())
    for head in (one, other):
        head.learn(z, label)
    assert torch.equal(one.weight, other.weight)
    assert other.optimizer.param_groups[0]["params"][0] is other.weight

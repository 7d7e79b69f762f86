# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import torch

from conjoin.core.optim import LARS


def reference(weight, gradients, lrs, *, momentum, decay, trust, adapt):
    """Plain Python floats, one step after the other."""
    velocity = [0.0] * len(weight)
    for gradient, lr in zip(gradients, lrs, strict=True):
        direction = list(gradient)
        if adapt:
            direction = [g + decay * w for g, w in zip(gradient, weight, strict=True)]
            norm, length = math.hypot(*direction), math.hypot(*weight)
            factor = trust * length / norm if norm > 0 and length > 0 else 1.0
            direction = [factor * d for d in direction]
        velocity = [momentum * v + d for v, d in zip(velocity, direction, strict=True)]
        weight = [w - lr * v for w, v in zip(weight, velocity, strict=True)]
    return weight


@pytest.mark.parametrize("shape", [(2, 3), (6,)])
def test_steps_follow_the_formula(shape):
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
    gradients = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    lrs = [1.0, 0.5, 2.0, 0.1]
    expected = reference(
        parameter.flatten().tolist(), gradients.flatten(1).tolist(), lrs,
        momentum=0.9, decay=0.1, trust=0.02, adapt=len(shape) > 1,
    )  # fmt: skip
    optimizer = LARS([parameter], momentum=0.9, weight_decay=0.1, trust=0.02)
    for gradient, lr in zip(gradients, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        parameter.grad = gradient
        optimizer.step()
    assert parameter.flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_a_zero_norm_means_a_plain_step(zero):
    parameter = torch.nn.Parameter(torch.ones(2, 2) * (zero != "weight"))
    before = parameter.detach().clone()
    parameter.grad = torch.ones(2, 2) * (zero != "gradient")
    LARS([parameter], lr=0.5).step()
    assert torch.equal(parameter, before - 0.5 * parameter.grad)


def test_closure_and_parameters_without_gradient():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = LARS([used, unused], lr=1.0)

    def closure():
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert used.tolist() == [-1.0, -1.0]
    assert unused.tolist() == [1.0, 1.0]


def test_momentum_survives_a_checkpoint():
    first, second = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    one = LARS([first], lr=0.1)
    first.grad = torch.ones(2, 2)
    one.step()
    two = LARS([second], lr=0.1)
    with torch.no_grad():
        second.copy_(first)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    second.grad = torch.ones(2, 2)
    one.step()
    two.step()
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "trust"])
@pytest.mark.parametrize("value", [-0.1, math.nan])
def test_refusals(name, value):
    with pytest.raises(ValueError, match=f"LARS: {name}"):
        LARS([torch.nn.Parameter(torch.ones(1))], **{name: value})

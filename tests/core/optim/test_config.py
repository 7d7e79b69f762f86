# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import nn

from conjoin.core.optim import LARS, Constant, Optim, parameter_groups


def test_schedules_are_those_of_the_release():
    lr, decay = Optim(warmup_epochs=40).schedules(3000, 10)
    assert [lr(k - 1) for k in (1, 200, 400, 1700, 3000)] == pytest.approx(
        [2.02e-4, 6e-4, 1e-3, 5.005e-4, 1e-6], abs=1e-9
    )
    assert [decay(k - 1) for k in (1, 1500, 3000)] == pytest.approx([0.0400000987, 0.22, 0.4], abs=1e-9)
    lr, decay = Optim(warmup_steps=400, schedule_stretch=1.25).schedules(3000, 1)
    assert lr(1699) == pytest.approx(6.725611917e-4, abs=1e-9)
    assert decay(2999) == pytest.approx(0.365623059, abs=1e-9)


def test_warmup_and_decay_options():
    lr, decay = Optim(warmup_epochs=0.5, start_lr=0.0, lr=1.0, final_weight_decay=None).schedules(100, 20)
    assert lr(4) == pytest.approx(0.5)
    assert decay == Constant(0.04)
    lr, _ = Optim().schedules(10**6, 10)
    assert lr(0) == pytest.approx(1e-3)


@pytest.mark.parametrize("total", [0, -1, math.inf])
def test_a_run_without_end_has_no_schedule(total):
    with pytest.raises(ValueError, match="set max_epochs or max_steps"):
        Optim().schedules(total, 10)


def test_adamw_is_built_from_the_settings():
    optimizer = Optim(lr=0.1, weight_decay=0.2, betas=(0.8, 0.9), eps=1e-6).build(
        parameter_groups(nn.Linear(2, 2))
    )
    assert isinstance(optimizer, torch.optim.AdamW)
    decayed, plain = optimizer.param_groups
    assert (decayed["lr"], decayed["weight_decay"], decayed["betas"], decayed["eps"]) == (
        0.1,
        0.2,
        (0.8, 0.9),
        1e-6,
    )
    assert plain["weight_decay"] == 0.0


def test_fused_by_itself_but_not_where_gradients_are_clipped():
    groups = parameter_groups(nn.Linear(2, 2))
    for name in ("adamw", "sgd"):
        assert Optim(name=name).build(groups).param_groups[0]["fused"]
        assert not Optim(name=name).build(groups, clips=True).param_groups[0]["fused"]
        assert not Optim(name=name, fused=False).build(groups).param_groups[0]["fused"]
        assert Optim(name=name, fused=True).build(groups, clips=True).param_groups[0]["fused"]
    meta = parameter_groups(nn.Linear(2, 2, device="meta"))
    assert not Optim().build(meta).param_groups[0]["fused"]


def test_fused_and_plain_adamw_take_the_same_steps():
    results = []
    for fused in (False, True):
        torch.manual_seed(0)
        net = nn.Linear(3, 3)
        optimizer = Optim(lr=0.1, fused=fused).build(parameter_groups(net))
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        results.append(net.weight.detach().clone())
    torch.testing.assert_close(*results)


def test_sgd_and_lars():
    groups = parameter_groups(nn.Linear(2, 2))
    sgd = Optim(name="sgd", momentum=0.7, nesterov=True).build(groups)
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["nesterov"]) == (0.7, True)
    lars = Optim(name="lars", trust=0.02, momentum=0.6).build(groups)
    assert isinstance(lars, LARS)
    assert (lars.param_groups[0]["trust"], lars.param_groups[0]["momentum"]) == (0.02, 0.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warmup_epochs": 1.0, "warmup_steps": 3}, "warmup_epochs=1.0 and warmup_steps=3"),
        ({"name": "adam"}, "'adam'"),
        ({"lr": -1.0}, "lr is -1"),
        ({"start_lr": math.nan}, "start_lr is nan"),
        ({"final_lr": math.inf}, "final_lr is inf"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"warmup_epochs": -0.5}, "warmup_epochs is -0.5"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"final_weight_decay": -0.1}, "final_weight_decay is -0.1"),
        ({"eps": -1e-8}, "eps is"),
        ({"momentum": -0.9}, "momentum is"),
        ({"trust": -1.0}, "trust is"),
        ({"schedule_stretch": 0.0}, "schedule_stretch is 0"),
        ({"betas": (0.9, 1.0)}, "betas is"),
        ({"betas": (0.9,)}, "betas is"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs"),
        ({"name": "lars", "fused": True}, "no fused kernel"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        Optim(**arguments)


def test_counting_from_zero_starts_at_the_first_values():
    optim = Optim(lr=1.0, start_lr=0.1, final_lr=0.0, warmup_steps=10, count_from=0)
    lr, decay = optim.schedules(100, 10)
    assert (lr(0), lr(10)) == (0.1, 1.0)
    assert lr(5) == pytest.approx(0.55)
    assert decay(0) == pytest.approx(optim.weight_decay)
    usual = Optim(lr=1.0, start_lr=0.1, final_lr=0.0, warmup_steps=10).schedules(100, 10)[0]
    assert [lr(step + 1) for step in range(99)] == [usual(step) for step in range(99)]
    with pytest.raises(ValueError, match="count_from is 2; it must be 0 or 1"):
        Optim(count_from=2)

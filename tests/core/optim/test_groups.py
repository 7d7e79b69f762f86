# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from conjoin.core.optim import parameter_groups, set_hyperparameters


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.relative_bias_table = nn.Parameter(torch.zeros(4, 3))
        self.positions = nn.Parameter(torch.zeros(1, 5, 3), requires_grad=False)


def ids(parameters):
    return {id(parameter) for parameter in parameters}


def test_matrices_are_decayed_biases_and_vectors_are_not():
    net = Encoder()
    decayed, plain = parameter_groups(net)
    assert ids(decayed["params"]) == ids([net.linear.weight, net.mask_token])
    assert ids(plain["params"]) == ids(
        [net.linear.bias, net.norm.weight, net.norm.bias, net.relative_bias_table]
    )
    assert (decayed["decays"], plain["decays"], plain["weight_decay"]) == (True, False, 0.0)


def test_more_names_can_be_excluded():
    net = Encoder()
    decayed, plain = parameter_groups([net], no_decay=("mask_token",))
    assert ids(decayed["params"]) == ids([net.linear.weight])
    assert id(net.mask_token) in ids(plain["params"])


def test_shared_parameters_appear_once_and_order_follows_the_modules():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    third = nn.Linear(2, 2, bias=False)
    decayed, plain = parameter_groups([first, second, third])
    assert [id(p) for p in decayed["params"]] == [id(first.weight), id(third.weight)]
    assert [id(p) for p in plain["params"]] == [id(first.bias)]


def test_empty_groups_are_left_out():
    (only,) = parameter_groups(nn.Linear(2, 2, bias=False))
    assert only["decays"]
    (only,) = parameter_groups(nn.LayerNorm(2))
    assert not only["decays"]


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="every parameter of Linear is frozen"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(ValueError, match="no module at all"):
        parameter_groups([])


def test_values_are_written_where_they_belong():
    net = Encoder()
    optimizer = torch.optim.SGD(parameter_groups(net), lr=1.0, weight_decay=0.5)
    optimizer.param_groups[1]["lr_scale"] = 0.1
    set_hyperparameters(optimizer, lr=0.2, weight_decay=0.3)
    decayed, plain = optimizer.param_groups
    assert (decayed["lr"], decayed["weight_decay"]) == (0.2, 0.3)
    assert (plain["lr"], plain["weight_decay"]) == (pytest.approx(0.02), 0.0)
    # The flags are part of the optimiser's state: a resumed run keeps them.
    other = torch.optim.SGD(parameter_groups(Encoder()), lr=1.0)
    other.load_state_dict(optimizer.state_dict())
    assert [group["decays"] for group in other.param_groups] == [True, False]


def test_groups_that_say_nothing_are_decayed():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    set_hyperparameters(optimizer, lr=0.1, weight_decay=0.7)
    assert optimizer.param_groups[0]["weight_decay"] == 0.7

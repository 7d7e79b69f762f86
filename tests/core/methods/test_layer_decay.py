# SPDX-License-Identifier: Apache-2.0
"""Which parameter learns at which rate."""

import pytest
import torch
from torch import nn

from conjoin.core.methods.layer_decay import layer_decay_groups, layers_of


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.embed = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))  # a smaller list than the blocks
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)) for _ in range(3))
        self.norm = nn.LayerNorm(4)


def test_layers_are_counted_from_the_input() -> None:
    encoder = Encoder()
    found = {name: layers_of(encoder)[parameter] for name, parameter in encoder.named_parameters()}
    for name, layer in found.items():
        expected = 4 if name.startswith("norm") else 0
        if name.startswith("blocks."):
            expected = 1 + int(name.split(".")[1])
        assert layer == expected, name


def test_every_parameter_is_in_one_group_with_its_rate() -> None:
    encoder, head = Encoder(), nn.Linear(4, 2)
    groups = layer_decay_groups(encoder, [head], 0.5, no_decay=("token",))
    rates = {}
    for group in groups:
        for parameter in group["params"]:
            assert parameter not in rates
            rates[parameter] = (group["lr_scale"], group["decays"])
    names = {
        **{f"encoder.{n}": p for n, p in encoder.named_parameters()},
        "head.weight": head.weight,
        "head.bias": head.bias,
    }
    assert set(rates) == set(names.values())
    assert rates[encoder.token] == (0.5**4, False)
    assert rates[encoder.embed[0].weight] == (0.5**4, True)
    assert rates[encoder.blocks[0][0].weight] == (0.5**3, True)
    assert rates[encoder.blocks[2][1].bias] == (0.5, False)
    assert rates[encoder.norm.weight] == (1.0, False)
    assert rates[head.weight] == (1.0, True)


def test_one_rate_needs_no_blocks() -> None:
    groups = layer_decay_groups(nn.Linear(2, 2), [nn.Linear(2, 1)], 1.0)
    assert [("lr_scale" in group, len(group["params"])) for group in groups] == [(False, 2), (False, 2)]
    with pytest.raises(ValueError, match="Linear has none: leave it at 1"):
        layer_decay_groups(nn.Linear(2, 2), [], 0.9)
    for decay in (0.0, 1.1):
        with pytest.raises(ValueError, match="layer_decay must lie in"):
            layer_decay_groups(Encoder(), [], decay)

# SPDX-License-Identifier: Apache-2.0
"""How modules are cut up, on a mesh of one process; training over two is tested with the strategies."""

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from conjoin.core.methods.sharding import shard


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.inlet = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        return self.intermediate(x, 1)[0]

    def intermediate(self, x, layers):
        outputs = [x := self.inlet(x)]
        for block in self.blocks:
            outputs.append(x := block(x))
        return outputs[-layers:]


@pytest.fixture
def mesh(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def test_blocks_are_units_of_their_own_and_values_stay(mesh):
    torch.manual_seed(0)
    module, x = Encoder(), torch.ones(2, 4)
    expected = module(x), module.intermediate(x, 2)
    shard(module, mesh)
    assert all(isinstance(p, DTensor) for p in module.parameters())
    units = {name for name, child in module.named_modules() if isinstance(child, FSDPModule)}
    assert units == {"", "blocks.0", "blocks.1", "blocks.2"}
    torch.testing.assert_close(module(x), expected[0])
    # The other way in gathers the parameters too.
    for found, wanted in zip(module.intermediate(x, 2), expected[1], strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_module_without_parameters_is_left_alone(mesh):
    module = nn.Sequential(nn.GELU(), nn.Identity())
    shard(module, mesh)
    assert not isinstance(module, FSDPModule)

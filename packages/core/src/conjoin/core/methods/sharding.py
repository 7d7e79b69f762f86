# SPDX-License-Identifier: Apache-2.0
"""How a module is cut up for fully sharded data parallelism (FSDP2)."""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

__all__ = ("shard",)


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a module's parameters over the ranks of a mesh, in place.

    Each element of an ``nn.ModuleList`` inside (a transformer block) is gathered and freed on its own; the
    rest belongs to the module itself. Modules without parameters are left alone.

    Args:
        module: Encoder, teacher, predictor, head.
        mesh: One-dimensional device mesh.
    """
    if not any(True for _ in module.parameters()):
        return
    for child in module.modules():
        if isinstance(child, nn.ModuleList):
            for block in child:
                fully_shard(block, mesh=mesh)
    # FSDP2 leaves an outermost module gathered until its backward pass; a frozen teacher has none.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    if hasattr(module, "intermediate"):
        register_fsdp_forward_method(module, "intermediate")

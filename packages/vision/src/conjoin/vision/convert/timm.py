# SPDX-License-Identifier: Apache-2.0
"""Encoders to and from timm.

timm's ``VisionTransformer(class_token=False, global_pool="avg", fc_norm=False)`` uses the very names and
shapes of :class:`~conjoin.vision.encoders.vit.ViT`, so its state dict loads strictly and gives the same
features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from conjoin.vision.encoders.vit import ViT

__all__ = ("from_timm", "timm_arguments", "to_timm")


def to_timm(encoder: ViT) -> dict[str, Tensor]:
    """The encoder's weights for ``VisionTransformer(**timm_arguments(encoder)).load_state_dict(...)``."""
    return {name: tensor.detach().cpu().clone() for name, tensor in encoder.state_dict().items()}


def timm_arguments(encoder: ViT) -> dict[str, Any]:
    """Constructor arguments of the timm ``VisionTransformer`` with the same shape."""
    block = encoder.blocks[0]
    return {
        "img_size": encoder.patch_embed.image_size,
        "patch_size": encoder.patch_embed.patch_size,
        "in_chans": encoder.patch_embed.in_channels,
        "embed_dim": encoder.embed_dim,
        "depth": len(encoder.blocks),
        "num_heads": encoder.heads,
        "mlp_ratio": block.mlp.fc1.out_features / encoder.embed_dim,  # type: ignore[union-attr, operator]
        "init_values": getattr(block.ls1, "value", None),
        "class_token": False,
        "global_pool": "avg",
        "fc_norm": False,
        "num_classes": 0,
    }


def from_timm(source: VisionTransformer | Mapping[str, Tensor], *, heads: int | None = None) -> ViT:
    """An encoder with the weights of a timm vision transformer without class token.

    Args:
        source: The model, or its state dict.
        heads: Attention heads; needed for a state dict.

    Raises:
        ValueError: If the model has a class token or other parts that ``ViT`` lacks, or heads are unknown.
    """
    if isinstance(source, VisionTransformer):
        first: Any = source.blocks[0]
        heads = first.attn.num_heads
        grid = source.patch_embed.grid_size
        state: Mapping[str, Tensor] = source.state_dict()
    else:
        state = source
        side = round(state["pos_embed"].shape[1] ** 0.5)
        grid = (side, side)
    if heads is None:
        raise ValueError("A state dict does not show the number of attention heads: give heads.")
    state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    dim, channels, height, width = state["patch_embed.proj.weight"].shape
    with torch.device("meta"):
        encoder = ViT(
            (grid[0] * height, grid[1] * width),
            (height, width),
            channels,
            dim,
            depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
            heads=heads,
            mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / dim,
            layer_scale=1.0 if "blocks.0.ls1.gamma" in state else None,
        )
    problems = set(state) ^ set(encoder.state_dict())
    if problems:
        raise ValueError(
            f"The timm model is not a plain vision transformer without class token: "
            f"{', '.join(sorted(problems)[:5])} have no counterpart. Use TimmEncoder to train it as it is."
        )
    encoder.to_empty(device="cpu")
    encoder.load_state_dict(state)
    return encoder

# SPDX-License-Identifier: Apache-2.0
"""A-JEPA's regularised masking for fine-tuning: a few tokens of each layer do not count for attention.

In every layer a random tenth of the tokens may not contribute to attention weights; no token is dropped or
set to zero, and at test time attention is plain (arXiv 2311.15830). The descriptions of the paper can be read
in two ways:

* ``"keys"`` (default): nobody attends to the chosen tokens, which attend to the others themselves.
* ``"self"``: the chosen tokens do not attend to themselves, and everybody else still does to them.

Residual paths are untouched in both.
"""

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from conjoin.core.nn.attention import attend

__all__ = ("RegularizedMode", "check_regularization", "choose_tokens", "regularized")

RegularizedMode = Literal["keys", "self"]


def check_regularization(ratio: float, mode: str) -> None:
    """Refuse a share outside [0, 1) or an unknown mode.

    Raises:
        ValueError: Naming the value.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"The share of regularised masking must be at least 0 and below 1, not {ratio}.")
    if mode not in get_args(RegularizedMode):
        raise ValueError(
            f"The mode of regularised masking must be {' or '.join(get_args(RegularizedMode))}, not {mode!r}."
        )


def choose_tokens(layers: int, batch: int, tokens: int, ratio: float, device: torch.device) -> Tensor:
    """Which tokens do not count, drawn for each layer and sample: bool (layers, batch, tokens).

    As dropout does, it draws from the global generator of the device, which training seeds by key. At least
    one token always counts.
    """
    count = min(round(ratio * tokens), tokens - 1)
    order = torch.rand(layers, batch, tokens, device=device).argsort(dim=-1)
    return order < count


def regularized(
    blocks: nn.ModuleList, norm: nn.Module, tokens: Tensor, chosen: Tensor, mode: RegularizedMode = "keys"
) -> Tensor:
    """Run transformer blocks and the final norm while the chosen tokens of each layer do not count.

    Args:
        blocks: The core's blocks.
        norm: The final norm.
        tokens: (B, N, D).
        chosen: (blocks, B, N) bool from :func:`choose_tokens`.
        mode: See the module's text.

    Returns:
        (B, N, D).
    """
    for module, layer in zip(blocks, chosen, strict=True):
        block = cast(Any, module)
        attention = block.attn
        packed = attention.qkv(block.norm1(tokens)).unflatten(-1, (3, attention.heads, -1))
        q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        mask = ~layer[:, None, None, :] if mode == "keys" else ~torch.diag_embed(layer)[:, None]
        branch = attention.proj(attend(q, k, v, mask).transpose(1, 2).flatten(2))
        tokens = tokens + block.ls1(branch)
        tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
    return cast(Tensor, norm(tokens))

# SPDX-License-Identifier: Apache-2.0
"""A stack of pre-norm blocks and a final norm: tokens in, tokens out.

What a modality package puts behind its tokenizer. It knows nothing of patches, positions or masks;
positions are added to the tokens before, or come in as ``rope``.
"""

from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn.attention import Queries
from conjoin.core.nn.block import Block
from conjoin.core.nn.init import Init
from conjoin.core.nn.rotary import Rotation

__all__ = ("Transformer",)


class Transformer(nn.Module):
    """Pre-norm transformer over (B, N, D) tokens.

    Args:
        dim: Width ``D`` of the tokens.
        depth: Number of blocks, at least one.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``D``.
        qkv_bias: Whether query, key and value have a bias.
        norm_eps: Epsilon of the layer norms.
        layer_scale: First value of the LayerScale on the residual branches; None for none.
        bias: Whether layers have a bias; False leaves out those of query, key, value and norms too.
        init: Scheme of the initial weights.
        residual_gain: Factor on the scheme's standard deviation for the layers that end a branch.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``depth`` is below one or ``heads`` does not divide ``dim``.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        *,
        layer_scale: float | None = None,
        bias: bool = True,
        init: Init = "official",
        residual_gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"A transformer needs at least one block, got depth {depth}.")
        self.embed_dim = dim
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                mlp_ratio,
                qkv_bias=qkv_bias,
                norm_eps=norm_eps,
                layer_scale=layer_scale,
                bias=bias,
                init=init,
                residual_gain=residual_gain,
                device=device,
                dtype=dtype,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, norm_eps, bias=bias, device=device, dtype=dtype)

    def forward(
        self,
        tokens: Tensor,
        padding: Tensor | None = None,
        rope: Rotation | None = None,
        queries: Queries | None = None,
    ) -> Tensor:
        """Run all blocks and the final norm.

        Args:
            tokens: (B, N, D).
            padding: (B, N) bool, True where a token is padding that nobody may attend to; the
                outputs at those places are defined but mean nothing.
            rope: Rotation of the N positions, from ``RotaryPositions``.
            queries: The tokens whose output is wanted (a slice, or (B, K) long); the last block
                computes no others.

        Returns:
            (B, N, D), or (B, K, D) for K queries.
        """
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, padding, rope, queries if number == last else None)
        normed: Tensor = self.norm(tokens)
        return normed

    def intermediate(
        self,
        tokens: Tensor,
        layers: int = 1,
        padding: Tensor | None = None,
        rope: Rotation | None = None,
    ) -> list[Tensor]:
        """Outputs of the last ``layers`` blocks, first to last, each through the final norm.

        Returns:
            ``layers`` tensors (B, N, D); the last one is what ``forward`` returns.

        Raises:
            ValueError: If there are not that many blocks.
        """
        return run_intermediate(self.blocks, self.norm, tokens, layers, padding, rope)


def run_intermediate(
    blocks: nn.ModuleList,
    norm: nn.Module,
    tokens: Tensor,
    layers: int,
    padding: Tensor | None = None,
    rope: Rotation | None = None,
) -> list[Tensor]:
    """Run ``blocks`` and return the normed outputs of the last ``layers`` of them.

    Raises:
        ValueError: If ``layers`` is not between one and the number of blocks.
    """
    if not 1 <= layers <= len(blocks):
        raise ValueError(
            f"layers must be between 1 and the {len(blocks)} blocks of the encoder, got {layers}."
        )
    outputs: list[Tensor] = []
    for number, block in enumerate(blocks):
        tokens = block(tokens, padding, rope)
        if number >= len(blocks) - layers:
            outputs.append(norm(tokens))
    return outputs

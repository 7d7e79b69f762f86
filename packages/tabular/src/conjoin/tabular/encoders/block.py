# SPDX-License-Identifier: Apache-2.0
"""The post-norm transformer of T-JEPA's release: blocks that normalise after the sum, and a linear tail.

One block is ``x = norm1(x + attention(x))``, then ``x = norm2(x + fc2(relu(fc1(x))))`` (Vaswani et al.,
2017), with dropout on the attention weights, in the MLP and on both branches. After the last block comes
``norm, linear, norm``. Core's blocks normalise before the sum, so this is another network, not another
option.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn import Init, Linear

__all__ = ("PostNormBlock", "PostNormTransformer")


class PostNormBlock(nn.Module):
    """One post-norm transformer block.

    Args:
        dim: Width ``D`` of the tokens.
        heads: Attention heads; must divide ``dim``.
        hidden: Width of the MLP.
        dropout: Probability of a zero, in training.
        init: Scheme of the linear layers; query, key and value are always drawn by Glorot's, as released.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``heads`` does not divide ``dim`` or ``dropout`` is not in [0, 1).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        *,
        dropout: float = 0.0,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide the width: {heads} heads do not divide dim {dim}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), not {dropout}.")
        self.heads = heads
        self.dropout = dropout
        self.qkv = Linear(dim, 3 * dim, init="xavier", device=device, dtype=dtype)
        self.proj = Linear(dim, dim, init=init, device=device, dtype=dtype)
        self.fc1 = Linear(dim, hidden, init=init, device=device, dtype=dtype)
        self.fc2 = Linear(hidden, dim, init=init, device=device, dtype=dtype)
        self.norm1 = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.norm2 = nn.LayerNorm(dim, device=device, dtype=dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        tokens = self.norm1(tokens + self._drop(self._attend(tokens)))
        hidden = self._drop(F.relu(self.fc1(tokens)))
        out: Tensor = self.norm2(tokens + self._drop(self.fc2(hidden)))
        return out

    def _attend(self, tokens: Tensor) -> Tensor:
        q, k, v = torch.unflatten(self.qkv(tokens), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class PostNormTransformer(nn.Module):
    """Post-norm blocks, then ``norm, linear, norm``, with dropout before each norm.

    Args:
        dim: Width ``D`` of the tokens.
        depth: Number of blocks, at least one.
        heads: Attention heads.
        hidden: Width of the MLPs.
        dropout: Probability of a zero, in training.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``depth`` is below one, or a block refuses its sizes.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        hidden: int,
        *,
        dropout: float = 0.0,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"A transformer needs at least one block, got depth {depth}.")
        self.dropout = dropout
        self.blocks = nn.ModuleList(
            PostNormBlock(dim, heads, hidden, dropout=dropout, init=init, device=device, dtype=dtype)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.fc = Linear(dim, dim, init=init, device=device, dtype=dtype)
        self.out_norm = nn.LayerNorm(dim, device=device, dtype=dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        return self.intermediate(tokens, 1)[0]

    def intermediate(self, tokens: Tensor, layers: int = 1) -> list[Tensor]:
        """Outputs of the last ``layers`` blocks, each through the tail, first to last.

        Raises:
            ValueError: If there are not that many blocks.
        """
        if not 1 <= layers <= len(self.blocks):
            raise ValueError(
                f"layers must be between 1 and the {len(self.blocks)} blocks of the encoder, got {layers}."
            )
        outputs = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number >= len(self.blocks) - layers:
                outputs.append(self._tail(tokens))
        return outputs

    def _tail(self, tokens: Tensor) -> Tensor:
        hidden = self.fc(self.norm(F.dropout(tokens, self.dropout, self.training)))
        out: Tensor = self.out_norm(F.dropout(hidden, self.dropout, self.training))
        return out

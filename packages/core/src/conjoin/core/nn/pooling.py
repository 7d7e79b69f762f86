# SPDX-License-Identifier: Apache-2.0
"""From tokens to one vector: the mean, or attention by a learned query."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn.block import Mlp
from conjoin.core.nn.init import Init, Linear, init_weight_

__all__ = ("AttentivePool", "MeanPool")


class MeanPool(nn.Module):
    """Mean over the tokens that are not padding."""

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Pool.

        Args:
            tokens: (B, N, D).
            padding: (B, N) bool, True where a token is padding.

        Returns:
            (B, D); zero for a sample without any token.
        """
        if padding is None:
            return tokens.mean(dim=1)
        kept = (~padding).unsqueeze(-1)
        return tokens.masked_fill(~kept, 0).sum(dim=1) / kept.sum(dim=1).clamp(min=1)


class AttentivePool(nn.Module):
    """A learned query that attends to all tokens, then an MLP: the probe head of the V-JEPA papers.

    Bardes et al., "Revisiting Feature Prediction for Learning Visual Representations from Video"
    (arXiv 2404.08471), section 4: ``y = q + attention(q, norm(x))``, ``y + mlp(norm(y))``.

    Args:
        dim: Width ``D`` of the tokens.
        heads: Attention heads; must divide ``dim``.
        mlp_ratio: Hidden width of the MLP over ``D``.
        norm_eps: Epsilon of the layer norms.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``heads`` does not divide ``dim``.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        *,
        norm_eps: float = 1e-6,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide the width: {heads} heads do not divide dim {dim}.")
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, 1, dim, device=device, dtype=dtype))
        self.norm1 = nn.LayerNorm(dim, norm_eps, device=device, dtype=dtype)
        self.q = Linear(dim, dim, init=init, device=device, dtype=dtype)
        self.kv = Linear(dim, 2 * dim, init=init, device=device, dtype=dtype)
        self.proj = Linear(dim, dim, init=init, device=device, dtype=dtype)
        self.norm2 = nn.LayerNorm(dim, norm_eps, device=device, dtype=dtype)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), init=init, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A new query; the layers reset themselves."""
        init_weight_(self.query)

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Pool.

        Args:
            tokens: (B, N, D).
            padding: (B, N) bool, True where a token is padding; each sample needs one that is not.

        Returns:
            (B, D).
        """
        q = self.q(self.query).unflatten(-1, (self.heads, -1)).transpose(1, 2).expand(len(tokens), -1, -1, -1)
        k, v = self.kv(self.norm1(tokens)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if padding is None else ~padding[:, None, None, :]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        pooled: Tensor = self.query + self.proj(seen)
        pooled = pooled + self.mlp(self.norm2(pooled))
        return pooled.squeeze(1)

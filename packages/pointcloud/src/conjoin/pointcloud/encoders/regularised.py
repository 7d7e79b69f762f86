# SPDX-License-Identifier: Apache-2.0
"""The pre-norm block with dropout, attention dropout and drop-path, as Point-JEPA trains it.

Parameter names are those of :class:`conjoin.core.nn.Block`. Dropout after the output projection and after
the MLP, then drop-path (Huang et al., "Deep Networks with Stochastic Depth", arXiv 1603.09382), sit where
that block has its LayerScale; attention dropout and the dropout inside the MLP need two short overrides.
What they draw comes from torch's global generators, which :class:`~conjoin.pointcloud.methods.PointJEPA`
seeds by key in every step.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn import Attention, Block, Init, Mlp
from conjoin.core.nn.attention import Queries
from conjoin.core.nn.rotary import Rotation

__all__ = ("DropPath", "RegularisedBlock")


class DropPath(nn.Module):
    """Drops a residual branch of whole samples and scales the others up.

    Args:
        rate: Probability of dropping, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) to (B, ...)."""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep)

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate:g}"


class _Attention(Attention):
    """Self-attention with dropout on its weights."""

    dropout = 0.0

    def forward(
        self,
        tokens: Tensor,
        padding: Tensor | None = None,
        rope: Rotation | None = None,
        queries: Queries | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        if not self.training or self.dropout == 0:
            return super().forward(tokens, padding, rope, queries, index)
        q, k, v = self._project(tokens, queries, index)
        mask = None if padding is None else ~padding[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout)
        projected: Tensor = self.proj(out.transpose(1, 2).flatten(2))
        return projected


class _Mlp(Mlp):
    """MLP with dropout after the activation."""

    dropout = 0.0

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training))
        return out


class RegularisedBlock(Block):
    """A pre-norm block with dropout.

    Args:
        dim: Width of the tokens.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``dim``.
        dropout: Rate after the attention's projection and after both layers of the MLP.
        attention_dropout: Rate on the attention weights.
        drop_path: Rate of dropping a residual branch.
        norm_eps: Epsilon of the layer norms.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If a rate lies outside [0, 1).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        norm_eps: float = 1e-5,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(dim, heads, mlp_ratio, norm_eps=norm_eps, init=init, device=device, dtype=dtype)
        for name, rate in (
            ("dropout", dropout),
            ("attention_dropout", attention_dropout),
            ("drop_path", drop_path),
        ):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {rate}.")
        self.attn = _Attention(dim, heads, init=init, device=device, dtype=dtype)
        self.attn.dropout = attention_dropout
        self.mlp = _Mlp(dim, int(round(dim * mlp_ratio, 6)), init=init, device=device, dtype=dtype)
        self.mlp.dropout = dropout
        if dropout or drop_path:
            self.ls1 = nn.Sequential(nn.Dropout(dropout), DropPath(drop_path))
            self.ls2 = nn.Sequential(nn.Dropout(dropout), DropPath(drop_path))

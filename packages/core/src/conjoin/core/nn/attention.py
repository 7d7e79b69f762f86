# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention on PyTorch's fused kernel.

Vaswani et al., "Attention Is All You Need" (2017): ``softmax(q k^T / sqrt(d)) v`` per head. The
weights are packed as ``qkv`` (query, key, value thirds) and ``proj``, the names of timm and of the
official JEPA releases, so that checkpoints move without renaming.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn.gather import gather_rows, gather_tokens
from conjoin.core.nn.init import Init, Linear
from conjoin.core.nn.rotary import Rotation, rotate

__all__ = ("Attention", "Queries", "attend", "select_tokens")

Queries = slice | Tensor
"""The tokens whose output is wanted: a range that all samples share, or (B, K) long indices."""


def select_tokens(tokens: Tensor, queries: Queries) -> Tensor:
    """(B, N, D) to the (B, K, D) tokens that ``queries`` names."""
    return tokens[:, queries] if isinstance(queries, slice) else gather_tokens(tokens, queries)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention, with the backward pass of bfloat16 on a CPU done in float32.

    PyTorch 2.11's CPU kernel is 2 to 4 times slower backwards in bfloat16 than both casts and the float32
    kernel together, at sequences of up to 200 tokens; float32 is also the better sum.

    Args:
        q: (B, H, K, d).
        k: (B, H, N, d).
        v: (B, H, N, d).
        mask: Broadcasts to (B, H, K, N); True where a query may look. Everything if not given.

    Returns:
        (B, H, K, d).
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad:
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Attention(nn.Module):
    """Self-attention over (B, N, D) tokens.

    Args:
        dim: Width ``D`` of the tokens.
        heads: Number of heads; must divide ``dim``.
        qkv_bias: Whether query, key and value have a bias.
        proj_bias: Whether the output projection has one.
        init: Scheme of the initial weights.
        proj_gain: Factor on the scheme's standard deviation for the output projection.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``heads`` does not divide ``dim``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        init: Init = "official",
        proj_gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide the width: {heads} heads do not divide dim {dim}.")
        self.dim = dim
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, qkv_bias, init=init, device=device, dtype=dtype)
        self.proj = Linear(dim, dim, proj_bias, init=init, gain=proj_gain, device=device, dtype=dtype)

    def forward(
        self,
        tokens: Tensor,
        padding: Tensor | None = None,
        rope: Rotation | None = None,
        queries: Queries | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            tokens: (B, N, D), or (R, D) rows if ``index`` is given.
            padding: (B, N) bool, True where a token is padding that nobody may attend to.
            rope: Rotation of the N positions, from ``RotaryPositions``.
            queries: Compute the output of these tokens only; all N remain keys and values.
            index: (B, N) long: the sequences are ``tokens[index]``, and the projection of a row that
                occurs in many sequences is computed once.

        Returns:
            (B, N, D), or (B, K, D) for K queries.
        """
        q, k, v = self._project(tokens, queries, index)
        if rope is not None:
            k = rotate(k, rope)
            q = rotate(
                q, rope if queries is None else tuple(_select_rotation(part, queries) for part in rope)
            )
        mask = None if padding is None else ~padding[:, None, None, :]
        out = attend(q, k, v, mask)
        out = self.proj(out.transpose(1, 2).flatten(2))
        assert isinstance(out, Tensor)
        return out

    def _project(
        self, tokens: Tensor, queries: Queries | None, index: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, K, d), keys and values (B, H, N, d)."""
        if index is None and queries is not None:
            weight, bias = self.qkv.weight, self.qkv.bias
            at = self.dim
            q = F.linear(select_tokens(tokens, queries), weight[:at], None if bias is None else bias[:at])
            kv = F.linear(tokens, weight[at:], None if bias is None else bias[at:])
            k, v = self._heads(kv, 2)
            return self._heads(q, 1)[0], k, v
        qkv = self.qkv(tokens)
        if index is not None:
            qkv = gather_rows(qkv, index)
        q, k, v = self._heads(qkv, 3)
        if queries is not None:
            q = _select_heads(q, queries)
        return q, k, v

    def _heads(self, packed: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, N, parts * D) to ``parts`` views (B, H, N, d)."""
        split = torch.unflatten(packed, -1, (parts, self.heads, -1))
        return tuple(split.permute(2, 0, 3, 1, 4))


def _select_heads(q: Tensor, queries: Queries) -> Tensor:
    """(B, H, N, d) to the (B, H, K, d) that ``queries`` names."""
    if isinstance(queries, slice):
        return q[:, :, queries]
    return q.gather(2, queries[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))


def _select_rotation(table: Tensor, queries: Queries) -> Tensor:
    """(N, d) or (B, N, d) to the rows that ``queries`` names."""
    if isinstance(queries, slice):
        return table[..., queries, :]
    return table[queries] if table.ndim == 2 else gather_tokens(table, queries)

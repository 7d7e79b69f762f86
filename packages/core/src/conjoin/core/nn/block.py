# SPDX-License-Identifier: Apache-2.0
"""The pre-norm transformer block: ``x + attention(norm1(x))``, then ``x + mlp(norm2(x))``.

Parameter names (``norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2``) are timm's and those of the
official JEPA releases.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn.attention import Attention, Queries, select_tokens
from conjoin.core.nn.gather import gather_rows
from conjoin.core.nn.init import Init, Linear
from conjoin.core.nn.rotary import Rotation

__all__ = ("Block", "LayerScale", "Mlp")


class Mlp(nn.Module):
    """Linear, exact GELU, linear.

    Args:
        dim: Width of the tokens.
        hidden: Width in between.
        bias: Whether the layers have a bias.
        init: Scheme of the initial weights.
        out_gain: Factor on the scheme's standard deviation for the second layer.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        *,
        bias: bool = True,
        init: Init = "official",
        out_gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden, bias, init=init, device=device, dtype=dtype)
        self.fc2 = Linear(hidden, dim, bias, init=init, gain=out_gain, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A learned factor per channel on a residual branch (Touvron et al., arXiv 2103.17239).

    Args:
        dim: Width of the tokens.
        value: First value of all factors.
        device: Where the factors live.
        dtype: Their type.
    """

    def __init__(
        self, dim: int, value: float = 1e-5, *, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.value = value
        self.gamma = nn.Parameter(torch.empty(dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to the first value."""
        nn.init.constant_(self.gamma, self.value)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return x * self.gamma

    def extra_repr(self) -> str:
        """The first value."""
        return f"{self.gamma.numel()}, value={self.value:g}"


class Block(nn.Module):
    """One pre-norm transformer block.

    Args:
        dim: Width ``D`` of the tokens.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``D`` (rounded down).
        qkv_bias: Whether query, key and value have a bias.
        norm_eps: Epsilon of the layer norms.
        layer_scale: First value of the LayerScale on both branches; None for none.
        bias: Whether any other layer has a bias; False takes those of query, key, value and norms too.
        init: Scheme of the initial weights.
        residual_gain: Factor on the scheme's standard deviation for the layers that end a branch.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        *,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        layer_scale: float | None = None,
        bias: bool = True,
        init: Init = "official",
        residual_gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, norm_eps, bias=bias, device=device, dtype=dtype)
        self.attn = Attention(
            dim,
            heads,
            qkv_bias=qkv_bias and bias,
            proj_bias=bias,
            init=init,
            proj_gain=residual_gain,
            device=device,
            dtype=dtype,
        )
        self.norm2 = nn.LayerNorm(dim, norm_eps, bias=bias, device=device, dtype=dtype)
        hidden = int(round(dim * mlp_ratio, 6))
        self.mlp = Mlp(dim, hidden, bias=bias, init=init, out_gain=residual_gain, device=device, dtype=dtype)
        self.ls1: nn.Module = nn.Identity()
        self.ls2: nn.Module = nn.Identity()
        if layer_scale is not None:
            self.ls1 = LayerScale(dim, layer_scale, device=device, dtype=dtype)
            self.ls2 = LayerScale(dim, layer_scale, device=device, dtype=dtype)

    def forward(
        self,
        tokens: Tensor,
        padding: Tensor | None = None,
        rope: Rotation | None = None,
        queries: Queries | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Run the block.

        Args:
            tokens: (B, N, D), or (R, D) rows if ``index`` is given.
            padding: (B, N) bool, True where a token is padding that nobody may attend to.
            rope: Rotation of the N positions, from ``RotaryPositions``.
            queries: Compute these tokens only (a slice, or (B, K) long); the others serve as
                keys and values.
            index: (B, N) long: the sequences are ``tokens[index]``; a row that occurs in many
                sequences is normed and projected once.

        Returns:
            (B, N, D), or (B, K, D) for K queries: exactly those rows of the full output.
        """
        branch = self.attn(self.norm1(tokens), padding, rope, queries, index)
        if index is not None:
            if queries is not None:
                index = index[:, queries] if isinstance(queries, slice) else index.gather(1, queries)
            tokens = gather_rows(tokens, index)
        elif queries is not None:
            tokens = select_tokens(tokens, queries)
        tokens = tokens + self.ls1(branch)
        out: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return out

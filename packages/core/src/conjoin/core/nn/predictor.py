# SPDX-License-Identifier: Apache-2.0
"""The predictor of a JEPA: a narrow transformer from visible tokens to the features of hidden ones.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture"
(CVPR 2023, arXiv 2301.08243), section 3. For target block ``m`` the input is the sequence

    [ W c_k + p(context_k) for all visible k,  mask + p(target_mk) for all k of the block ]

and the outputs at the mask tokens, normed and projected back to the encoder's width, are the
predictions. Blocks are predicted in independent passes: they do not see each other.

The result is that of the plain computation (repeat the context per block, run every layer on every
token, drop the context), but three parts of the work are not done twice or in vain:

* Before the first block a context token is the same in all M sequences, and a mask token depends on
  its position only. So the first block norms and projects ``B Kc + N`` distinct rows instead of
  ``B M (Kc + Kt)``, and gathers the sequences afterwards.
* In the last block only mask tokens are queries; context tokens are keys and values, and have no
  output projection and no MLP.
* The final norm and projection see mask tokens only.

Parameter names are those of the official release.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn.block import Block
from conjoin.core.nn.gather import gather_rows
from conjoin.core.nn.init import Init, Linear, init_weight_
from conjoin.core.nn.positions import sincos_positions

__all__ = ("Predictor",)


class Predictor(nn.Module):
    """Predicts encoder features of hidden tokens from encoder features of visible ones.

    Args:
        embed_dim: Width ``D`` of the encoder.
        grid: The encoder's token grid, any number of axes; N is the number of its cells.
        dim: Width of the predictor.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        out_dim: Width of the predictions; None for ``embed_dim``.
        qkv_bias: Whether query, key and value have a bias.
        norm_eps: Epsilon of the layer norms.
        bias: Whether layers have a bias; False leaves out those of query, key, value and norms too.
        init: Scheme of the initial weights.
        residual_gain: Factor on the scheme's standard deviation for the layers that end a branch.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``depth`` is below one or ``heads`` does not divide ``dim``.
    """

    predictor_pos_embed: Tensor

    def __init__(
        self,
        embed_dim: int,
        grid: tuple[int, ...],
        dim: int = 384,
        depth: int = 6,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        *,
        out_dim: int | None = None,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        bias: bool = True,
        init: Init = "official",
        residual_gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"A predictor needs at least one block, got depth {depth}.")
        self.grid = tuple(grid)
        self.dim = dim
        self.predictor_embed = Linear(embed_dim, dim, bias, init=init, device=device, dtype=dtype)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim, device=device, dtype=dtype))
        table = torch.empty(1, math.prod(self.grid), dim, device=device, dtype=dtype)
        self.register_buffer("predictor_pos_embed", table)
        self.predictor_blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                mlp_ratio,
                qkv_bias=qkv_bias,
                norm_eps=norm_eps,
                bias=bias,
                init=init,
                residual_gain=residual_gain,
                device=device,
                dtype=dtype,
            )
            for _ in range(depth)
        )
        self.predictor_norm = nn.LayerNorm(dim, norm_eps, bias=bias, device=device, dtype=dtype)
        self.predictor_proj = Linear(dim, out_dim or embed_dim, bias, init=init, device=device, dtype=dtype)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """New mask token (always std 0.02) and the fixed positions; the layers reset themselves."""
        init_weight_(self.mask_token)
        if not self.predictor_pos_embed.is_meta:
            self.predictor_pos_embed.copy_(self.positions())

    def positions(self) -> Tensor:
        """The fixed positions (N, dim); a subclass may lay out theirs differently."""
        return sincos_positions(self.grid, self.dim)

    def forward(
        self,
        context: Tensor,
        context_index: Tensor,
        target_index: Tensor,
        context_valid: Tensor | None = None,
        targets_valid: Tensor | None = None,
    ) -> Tensor:
        """Predict.

        Args:
            context: (B, Kc, D) encoder features of the visible tokens.
            context_index: (B, Kc) long, their cells.
            target_index: (B, M, Kt) long, the cells to predict, in M blocks.
            context_valid: (B, Kc) bool, False where a context token is padding.
            targets_valid: (B, M, Kt) bool, False where a target is padding; its prediction is
                defined but means nothing.

        Returns:
            (B, M, Kt, out_dim).

        Raises:
            ValueError: If the shapes do not belong together.
        """
        batch, visible = context_index.shape
        if context.shape[:2] != context_index.shape or len(target_index) != batch or target_index.ndim != 3:
            raise ValueError(
                "The predictor wants context (B, Kc, D), context_index (B, Kc) and target_index (B, M, Kt), "
                f"got {tuple(context.shape)}, {tuple(context_index.shape)} and {tuple(target_index.shape)}."
            )
        blocks = target_index.shape[1]
        positions = self.predictor_pos_embed[0]
        seen = self.predictor_embed(context) + gather_rows(positions, context_index)
        rows = torch.cat((seen.flatten(0, 1), (self.mask_token[0] + positions).to(seen.dtype)))
        seen_rows = torch.arange(batch * visible, device=rows.device).view(batch, 1, visible)
        index = torch.cat((seen_rows.expand(-1, blocks, -1), batch * visible + target_index), dim=2).flatten(
            0, 1
        )
        padding = _padding(context_valid, targets_valid, target_index, visible)

        tokens = rows
        last = len(self.predictor_blocks) - 1
        for number, block in enumerate(self.predictor_blocks):
            tokens = block(
                tokens,
                padding,
                queries=slice(visible, None) if number == last else None,
                index=index if number == 0 else None,
            )
        out: Tensor = self.predictor_proj(self.predictor_norm(tokens))
        return torch.unflatten(out, 0, (batch, blocks))

    def extra_repr(self) -> str:
        """The grid and the width."""
        return f"grid={self.grid}, dim={self.dim}"


def _padding(
    context_valid: Tensor | None, targets_valid: Tensor | None, target_index: Tensor, visible: int
) -> Tensor | None:
    """(B M, Kc + Kt) bool, True where a token of the sequence is padding; None if there is none."""
    if context_valid is None and targets_valid is None:
        return None
    batch, blocks, _ = target_index.shape
    if context_valid is None:
        context_valid = torch.ones(batch, visible, dtype=torch.bool, device=target_index.device)
    if targets_valid is None:
        targets_valid = torch.ones_like(target_index, dtype=torch.bool)
    valid = torch.cat((context_valid[:, None].expand(-1, blocks, -1), targets_valid), dim=2)
    return ~valid.flatten(0, 1)

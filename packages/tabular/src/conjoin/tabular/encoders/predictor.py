# SPDX-License-Identifier: Apache-2.0
"""The predictor of T-JEPA: from visible columns to the features of hidden ones.

Per target set the sequence is ``[W c_k + p(k) for visible k, mask + p(j) for hidden j]``; it goes through a
narrow post-norm transformer, and the outputs at the mask tokens are normed and projected to the encoder's
width. Sets are predicted in independent passes. The position table covers every token of the encoder, [REG]
included.
"""

from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn import Init, Linear, gather_rows, init_weight_, sincos_positions
from conjoin.tabular.encoders.block import PostNormTransformer

__all__ = ("ColumnPredictor",)


class ColumnPredictor(nn.Module):
    """Predicts features of hidden tokens of a row.

    Args:
        embed_dim: Width ``D`` of the encoder.
        tokens: Tokens of a row.
        dim: Width of the predictor.
        depth: Blocks.
        heads: Attention heads.
        hidden: Width of the MLPs.
        dropout: Probability of a zero, in training.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.
    """

    predictor_pos_embed: Tensor

    def __init__(
        self,
        embed_dim: int,
        tokens: int,
        dim: int = 16,
        depth: int = 16,
        heads: int = 4,
        hidden: int = 256,
        *,
        dropout: float = 0.0,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.grid = (tokens,)
        self.predictor_embed = Linear(embed_dim, dim, init=init, device=device, dtype=dtype)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim, device=device, dtype=dtype))
        self.register_buffer("predictor_pos_embed", torch.empty(1, tokens, dim, device=device, dtype=dtype))
        self.transformer = PostNormTransformer(
            dim, depth, heads, hidden, dropout=dropout, init=init, device=device, dtype=dtype
        )
        self.predictor_norm = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.predictor_proj = Linear(dim, embed_dim, init=init, device=device, dtype=dtype)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """New mask token and the fixed positions; the layers reset themselves."""
        init_weight_(self.mask_token)
        table = sincos_positions(self.grid, self.predictor_pos_embed.shape[-1])
        if not self.predictor_pos_embed.is_meta:
            self.predictor_pos_embed.copy_(table)

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
            context: (B, Kc, D) features of the visible tokens.
            context_index: (B, Kc) long, which tokens they are.
            target_index: (B, M, Kt) long, the tokens to predict, in M sets.
            context_valid: Must be None: sets of columns have one length per batch.
            targets_valid: As ``context_valid``.

        Returns:
            (B, M, Kt, D).

        Raises:
            ValueError: If the masks are padded.
        """
        if context_valid is not None or targets_valid is not None:
            raise ValueError(
                "T-JEPA takes masks of one length per batch; use SubsetMask, which pads nothing."
            )
        positions = self.predictor_pos_embed[0]
        sets, visible = target_index.shape[1], context.shape[1]
        seen = self.predictor_embed(context) + gather_rows(positions, context_index)
        hidden = self.mask_token + gather_rows(positions, target_index.flatten(0, 1))
        rows = torch.cat((seen.repeat_interleave(sets, dim=0), hidden.to(seen.dtype)), dim=1)
        out = self.transformer(rows)[:, visible:]
        predicted: Tensor = self.predictor_proj(self.predictor_norm(out))
        return torch.unflatten(predicted, 0, (len(context), sets))

    def extra_repr(self) -> str:
        """The number of tokens."""
        return f"tokens={self.grid[0]}"

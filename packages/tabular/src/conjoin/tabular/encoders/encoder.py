# SPDX-License-Identifier: Apache-2.0
"""The row encoder of T-JEPA: columns as tokens, fixed positions, a register token, post-norm blocks.

Thimonier et al., "T-JEPA: Augmentation-Free Self-Supervised Learning for Tabular Data", ICLR 2025 (arXiv
2410.05016), section 3. A column keeps its place, so the position table tells columns apart; its sines and
cosines are interleaved and have the base 100, as released.
"""

from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn import Init, gather_tokens, sincos_positions
from conjoin.core.spec import SelfDescribing
from conjoin.tabular.encoders.block import PostNormTransformer
from conjoin.tabular.encoders.tokenizer import ColumnTokenizer

__all__ = ("RowEncoder", "column_positions")


def column_positions(count: int, dim: int) -> Tensor:
    """(count, dim) with ``sin, cos, sin, cos ...`` along the channels, wavelengths up to 100 * 2 pi.

    Raises:
        ValueError: If ``dim`` is odd.
    """
    if dim % 2:
        raise ValueError(
            f"Column positions are pairs of a sine and a cosine: the width must be even, not {dim}."
        )
    sines, cosines = sincos_positions((count,), dim, base=100.0).chunk(2, dim=1)
    return torch.stack((sines, cosines), dim=-1).flatten(1)


class RowEncoder(SelfDescribing, nn.Module):
    """Transformer over the columns of a row.

    Args:
        numeric: Numeric columns, the first of a row.
        categories: Number of categories of each categorical column.
        dim: Width of the tokens, even.
        depth: Blocks.
        heads: Attention heads.
        hidden: Width of the MLPs.
        missing: Numeric columns (by place) in which values may be missing.
        register: Whether a [REG] token comes first.
        type_embedding: Add a learned vector for the kind of a column.
        dropout: Probability of a zero, in training.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Attributes:
        embed_dim: Width of the tokens.
        grid: (tokens,): [REG] if there is one, numeric columns, categorical columns.
        columns: Tokens that are columns.
    """

    pos_embed: Tensor

    def __init__(
        self,
        numeric: int,
        categories: tuple[int, ...] = (),
        dim: int = 64,
        depth: int = 16,
        heads: int = 2,
        hidden: int = 64,
        *,
        missing: tuple[int, ...] = (),
        register: bool = True,
        type_embedding: bool = False,
        dropout: float = 0.0,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.embed_dim = dim
        self.tokenizer = ColumnTokenizer(
            numeric,
            categories,
            dim,
            missing=missing,
            register=register,
            type_embedding=type_embedding,
            init=init,
            device=device,
            dtype=dtype,
        )
        self.columns = self.tokenizer.columns
        self.grid = (self.columns + register,)
        self.register_buffer("pos_embed", torch.empty(1, self.grid[0], dim, device=device, dtype=dtype))
        self.transformer = PostNormTransformer(
            dim, depth, heads, hidden, dropout=dropout, init=init, device=device, dtype=dtype
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The fixed positions; the layers reset themselves."""
        table = column_positions(self.grid[0], self.embed_dim)
        if not self.pos_embed.is_meta:
            self.pos_embed.copy_(table)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode.

        Args:
            x: (B, columns) rows.
            keep: (B, K) long: encode these tokens alone (with a register, column j is token j + 1); None for
                all.

        Returns:
            (B, N or K, D).
        """
        return self.intermediate(x, 1, keep)[0]

    def intermediate(self, x: Tensor, layers: int = 1, keep: Tensor | None = None) -> list[Tensor]:
        """Outputs of the last ``layers`` blocks, each through the tail: (B, N or K, D), first to last."""
        tokens = self.tokenizer(x) + self.pos_embed
        return self.transformer.intermediate(tokens if keep is None else gather_tokens(tokens, keep), layers)

# SPDX-License-Identifier: Apache-2.0
"""The predictor of Point-JEPA: like I-JEPA's, with learned positions of the centres instead of a table.

For each target block on its own, the sequence is

    [ W c_k + p(center_k) for all visible k,  mask + p(center_j) for all j of the block ] ;

positions are added once, at the input. The last block computes the mask tokens alone, the rest being keys and
values only.
"""

from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn import Init, Linear, gather_tokens
from conjoin.pointcloud.encoders.point_transformer import CenterPositions
from conjoin.pointcloud.encoders.regularised import RegularisedBlock

__all__ = ("PointPredictor",)


class PointPredictor(nn.Module):
    """Predicts the features of hidden patches from those of visible ones.

    Args:
        embed_dim: Width ``D`` of the encoder.
        dim: Width of the predictor.
        depth: Blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        dropout: Rate after projections and inside the MLPs.
        attention_dropout: Rate on attention weights.
        drop_path: Rate of every block.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``depth`` is below one, ``heads`` does not divide ``dim`` or a rate is out of its
            range.
    """

    def __init__(
        self,
        embed_dim: int = 384,
        dim: int = 192,
        depth: int = 6,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"A predictor needs at least one block, got depth {depth}.")
        place: dict[str, Any] = {"init": init, "device": device, "dtype": dtype}
        self.dim = dim
        self.predictor_embed = Linear(embed_dim, dim, **place)
        self.positions = CenterPositions(dim, **place)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim, device=device, dtype=dtype))
        self.blocks = nn.ModuleList(
            RegularisedBlock(
                dim,
                heads,
                mlp_ratio,
                dropout=dropout,
                attention_dropout=attention_dropout,
                drop_path=drop_path,
                **place,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, 1e-5, device=device, dtype=dtype)
        self.predictor_proj = Linear(dim, embed_dim, **place)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The mask token starts at zero, as released; the layers reset themselves."""
        nn.init.zeros_(self.mask_token)

    def forward(
        self, context: Tensor, context_index: Tensor, target_index: Tensor, centers: Tensor
    ) -> Tensor:
        """Predict.

        Args:
            context: (B, Kc, D) features of the visible tokens.
            context_index: (B, Kc) int64, their places in the sequence.
            target_index: (B, M, Kt) int64, the places to predict.
            centers: (B, G, 3) of all patches.

        Returns:
            (B, M, Kt, D).
        """
        blocks, visible = target_index.shape[1], context_index.shape[1]
        positions = self.positions(centers)
        seen = self.predictor_embed(context) + gather_tokens(positions, context_index)
        asked = self.mask_token.unsqueeze(1) + gather_tokens(positions, target_index)
        seen = seen.unsqueeze(1).expand(-1, blocks, -1, -1)
        tokens = torch.cat((seen, asked.to(seen.dtype)), dim=2).flatten(0, 1)
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, queries=slice(visible, None) if number == last else None)
        out: Tensor = self.predictor_proj(self.norm(tokens))
        return torch.unflatten(out, 0, target_index.shape[:2])

    def extra_repr(self) -> str:
        """The width."""
        return f"dim={self.dim}"

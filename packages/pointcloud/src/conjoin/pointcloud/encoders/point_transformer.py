# SPDX-License-Identifier: Apache-2.0
"""The encoder of Point-JEPA: patch tokens, positions of their centres added before every block."""

from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core.nn import Init, Linear, gather_tokens
from conjoin.core.spec import SelfDescribing
from conjoin.pointcloud.encoders.regularised import RegularisedBlock
from conjoin.pointcloud.encoders.tokenizer import SEQUENCES, Patches, PatchPointNet, cut_patches

__all__ = ("CenterPositions", "PointBlocks", "PointTransformer")


class CenterPositions(nn.Sequential):
    """Positions of centres: linear 3 to 128, GELU, linear to the width.

    Args:
        dim: Width of the tokens.
        hidden: Width in between.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 128,
        *,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            Linear(3, hidden, init=init, device=device, dtype=dtype),
            nn.GELU(),
            Linear(hidden, dim, init=init, device=device, dtype=dtype),
        )


class PointBlocks(nn.Module):
    """Pre-norm blocks with the positions added before each of them, and a final norm.

    The part of the encoder that the teacher averages.

    Args:
        dim: Width of the tokens.
        depth: Blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        dropout: See :class:`~conjoin.pointcloud.encoders.regularised.RegularisedBlock`.
        attention_dropout: See there.
        drop_path: Rate of the last block; it rises linearly from 0 at the first.
        norm_eps: Epsilon of the layer norms.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If ``depth`` is below one, ``heads`` does not divide ``dim`` or a rate is out of its
            range.
    """

    def __init__(
        self,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
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
        super().__init__()
        if depth < 1:
            raise ValueError(f"An encoder needs at least one block, got depth {depth}.")
        self.blocks = nn.ModuleList(
            RegularisedBlock(
                dim,
                heads,
                mlp_ratio,
                dropout=dropout,
                attention_dropout=attention_dropout,
                drop_path=drop_path * number / max(depth - 1, 1),
                norm_eps=norm_eps,
                init=init,
                device=device,
                dtype=dtype,
            )
            for number in range(depth)
        )
        self.norm = nn.LayerNorm(dim, norm_eps, device=device, dtype=dtype)

    def forward(self, tokens: Tensor, positions: Tensor, *, norm: bool = True) -> Tensor:
        """Run all blocks on (B, N, D) tokens with (B, N, D) positions.

        Args:
            tokens: (B, N, D).
            positions: (B, N, D).
            norm: Whether the final norm is applied.
        """
        for block in self.blocks:
            tokens = block(tokens + positions)
        return self.norm(tokens) if norm else tokens


class PointTransformer(SelfDescribing, nn.Module):
    """Clouds to token features.

    Args:
        groups: Patches (tokens) per cloud.
        group_size: Points per patch.
        dim: Width of the tokens.
        depth: Blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        widths: Of the patch network, see :class:`~conjoin.pointcloud.encoders.tokenizer.PatchPointNet`.
        radius: Radius of a patch if patches are balls; nearest neighbours if not given.
        sequence: Order of the tokens: ``"nearest_min"``, ``"nearest"``, ``"morton"`` or ``"none"``.
        dropout: Rate after projections and inside the MLPs.
        attention_dropout: Rate on attention weights.
        drop_path: Rate of the last block, rising linearly from 0.
        init: Scheme of the initial weights.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If an option is unknown or a size does not fit.
    """

    def __init__(
        self,
        groups: int = 64,
        group_size: int = 32,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        *,
        widths: tuple[int, int, int] = (128, 256, 512),
        radius: float | None = None,
        sequence: str = "nearest_min",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        init: Init = "official",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or group_size < 1:
            raise ValueError(f"groups and group_size must be at least 1, not {groups} and {group_size}.")
        if sequence not in SEQUENCES:
            raise ValueError(f"sequence must be one of {SEQUENCES}, not {sequence!r}.")
        if radius is not None and not radius > 0:
            raise ValueError(f"radius must be positive, not {radius}.")
        self.embed_dim = dim
        self.grid = (groups,)
        self.heads = heads
        self.group_size = group_size
        self.radius = radius
        self.sequence = sequence
        place: dict[str, Any] = {"init": init, "device": device, "dtype": dtype}
        self.tokenizer = PatchPointNet(dim, widths, **place)
        self.positions = CenterPositions(dim, **place)
        self.transformer = PointBlocks(
            dim,
            depth,
            heads,
            mlp_ratio,
            dropout=dropout,
            attention_dropout=attention_dropout,
            drop_path=drop_path,
            **place,
        )

    def cut(self, cloud: Tensor, start: Tensor | None = None) -> Patches:
        """The patches of (B, N, 3) clouds, in order; see :func:`cut_patches`."""
        return cut_patches(
            cloud, self.grid[0], self.group_size, radius=self.radius, sequence=self.sequence, start=start
        )

    def tokenize(self, patches: Patches) -> tuple[Tensor, Tensor]:
        """Tokens and positions (B, G, D) of patches."""
        return self.tokenizer(patches.points), self.positions(patches.centers)

    def forward(self, cloud: Tensor, keep: Tensor | None = None) -> Tensor:
        """Token features.

        Args:
            cloud: (B, N, 3), N at least ``groups`` and ``group_size``.
            keep: (B, K) int64, tokens of the sequence that are visible; all if not given.

        Returns:
            (B, G or K, D) after the final norm.
        """
        tokens, positions = self.tokenize(self.cut(cloud))
        if keep is not None:
            tokens, positions = gather_tokens(tokens, keep), gather_tokens(positions, keep)
        out: Tensor = self.transformer(tokens, positions)
        return out

    def intermediate(self, cloud: Tensor, layers: int = 1) -> list[Tensor]:
        """Outputs of the last ``layers`` blocks, each through the final norm; the last is ``forward``'s.

        Raises:
            ValueError: If there are not that many blocks.
        """
        blocks = self.transformer.blocks
        if not 1 <= layers <= len(blocks):
            raise ValueError(
                f"layers must be between 1 and the {len(blocks)} blocks of the encoder, got {layers}."
            )
        tokens, positions = self.tokenize(self.cut(cloud))
        outputs = []
        for number, block in enumerate(blocks):
            tokens = block(tokens + positions)
            if number >= len(blocks) - layers:
                outputs.append(self.transformer.norm(tokens))
        return outputs

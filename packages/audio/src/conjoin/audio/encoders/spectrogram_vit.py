# SPDX-License-Identifier: Apache-2.0
"""The transformer of A-JEPA over spectrograms: time-major patches, fixed positions, no class token.

Sizes are the usual ones; everything but the patches is the core's transformer. State-dict names
(``patch_embed.proj.*, blocks.i.*, norm.*``) are timm's and AudioMAE's.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.audio.encoders.regularized import (
    RegularizedMode,
    check_regularization,
    choose_tokens,
    regularized,
)
from conjoin.core.nn import (
    Hide,
    Init,
    PatchProjection,
    Transformer,
    gather_rows,
    gather_tokens,
    sincos_positions,
)
from conjoin.core.nn.transformer import run_intermediate
from conjoin.core.spec import SelfDescribing

__all__ = ("VARIANTS", "SpectrogramPatches", "SpectrogramViT", "Variant")


class Variant(NamedTuple):
    """Sizes of a named encoder."""

    dim: int
    depth: int
    heads: int


VARIANTS: dict[str, Variant] = {
    "vit_s": Variant(384, 12, 6),
    "vit_b": Variant(768, 12, 12),
    "vit_l": Variant(1024, 24, 16),
}
"""The variants of the paper."""


class SpectrogramPatches(nn.Module):
    """Cuts a map into patches and projects each to a token, hidden ones left out before the product.

    Args:
        patch: Frames and mel bands of a patch.
        dim: Width of the tokens.
        init: Scheme of the initial weights.
        gain: See ``PatchProjection``.
        dc: See ``PatchProjection``.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(
        self,
        patch: tuple[int, int],
        dim: int,
        *,
        init: Init = "official",
        gain: float = 1.0,
        dc: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.proj = PatchProjection(1, dim, patch, init=init, gain=gain, dc=dc, device=device, dtype=dtype)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, 1, T, F) to (B, N or K, dim), time-major: the cells of one moment follow each other."""
        time, band = self.patch
        patches = x[:, 0].unflatten(2, (-1, band)).unflatten(1, (-1, time))  # type: ignore[no-untyped-call]
        patches = patches.transpose(2, 3).flatten(3).flatten(1, 2)
        if keep is not None:
            patches = gather_tokens(patches, keep)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class SpectrogramViT(SelfDescribing, Transformer):
    """Vision transformer over log-mel spectrograms.

    Args:
        frames: Frames of the longest map. Shorter maps use the first positions; nothing is interpolated.
        mels: Mel bands.
        patch: Frames and bands of a patch, or one number for both.
        dim: Width of the tokens.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        init: Scheme of the initial weights.
        patch_gain: Factor on the initial patch projection: how loud content is beside position.
        patch_dc: Share of the mean of each patch filter that is left in it at the start.
        device: Where the weights live.
        dtype: Their type.

    Attributes:
        embed_dim: Width of the tokens.
        grid: (time, mel) patches of the longest map; tokens are time-major.

    Raises:
        ValueError: If the map does not consist of whole patches, or a size does not fit another.
    """

    pos_embed: Tensor

    def __init__(
        self,
        frames: int = 1024,
        mels: int = 128,
        patch: int | tuple[int, int] = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        *,
        init: Init = "official",
        patch_gain: float = 1.0,
        patch_dc: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(dim, depth, heads, mlp_ratio, init=init, device=device, dtype=dtype)
        time, band = (patch, patch) if isinstance(patch, int) else (int(patch[0]), int(patch[1]))
        for name, size, side in (("frames", frames, time), ("mels", mels, band)):
            if side < 1 or size < side or size % side:
                raise ValueError(
                    f"The spectrogram must consist of whole patches: {name} {size} is no multiple of "
                    f"{side}; change the "
                    "data's size or the patch."
                )
        self.heads = heads
        self.frames, self.mels = frames, mels
        self.grid = (frames // time, mels // band)
        self.patch_embed = SpectrogramPatches(
            (time, band), dim, init=init, gain=patch_gain, dc=patch_dc, device=device, dtype=dtype
        )
        # A constant of the architecture, made anew wherever the encoder is.
        table = torch.empty(1, self.grid[0] * self.grid[1], dim, device=device, dtype=dtype)
        self.register_buffer("pos_embed", table, persistent=False)
        self.regularize(0.0)
        self.reset_parameters()

    def regularize(self, ratio: float, mode: RegularizedMode = "keys") -> None:
        """Apply :mod:`~conjoin.audio.encoders.regularized` masking in training mode from now on.

        Args:
            ratio: Share of the tokens that do not count for attention in each layer; 0 for plain attention.
            mode: How they do not count.

        Raises:
            ValueError: If the share lies outside [0, 1) or the mode is unknown.
        """
        check_regularization(ratio, mode)
        self.ratio = ratio
        self.mode: RegularizedMode = mode

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The fixed positions; the layers reset themselves."""
        if not self.pos_embed.is_meta:
            self.pos_embed.copy_(sincos_positions(self.grid, self.embed_dim))

    def forward(  # type: ignore[override]
        self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None
    ) -> Tensor:
        """Encode.

        Args:
            x: (B, 1, T, F) floats, T whole patches and at most ``frames``.
            keep: (B, K) long: encode these patches alone, as if there were no others; None for all N.
            hide: What the blocks are to see of the patch tokens; all of them if not given.

        Returns:
            (B, N or K, D).
        """
        tokens = self.embed(x, keep, hide)
        if not self.training or not self.ratio:
            return super().forward(tokens)
        batch, count, _ = tokens.shape
        chosen = choose_tokens(len(self.blocks), batch, count, self.ratio, tokens.device)
        return regularized(self.blocks, self.norm, tokens, chosen, self.mode)

    def embed(self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None) -> Tensor:
        """Patch tokens with their positions, before the first block: (B, N or K, D).

        Raises:
            ValueError: If the maps have another shape than the encoder was made for.
        """
        time = self.patch_embed.patch[0]
        fits = x.ndim == 4 and x.shape[1] == 1 and x.shape[3] == self.mels
        if not fits or x.shape[2] > self.frames or x.shape[2] % time:
            raise ValueError(
                f"The encoder was made for spectrograms (B, 1, T, {self.mels}) with T a multiple of {time} "
                f"up to "
                f"{self.frames}, got {tuple(x.shape)}."
            )
        tokens: Tensor = self.patch_embed(x, keep)
        if hide is not None:
            tokens = hide(tokens)
        if keep is None:
            return tokens + self.pos_embed[:, : tokens.shape[1]]
        return tokens + gather_rows(self.pos_embed[0], keep)

    def intermediate(self, x: Tensor, layers: int = 1) -> list[Tensor]:  # type: ignore[override]
        """Normed outputs of the last ``layers`` blocks, first to last: (B, N, D) each."""
        return run_intermediate(self.blocks, self.norm, self.embed(x), layers)

    def extra_repr(self) -> str:
        """The sizes that the children do not show."""
        return f"frames={self.frames}, mels={self.mels}, grid={self.grid}, heads={self.heads}"

# SPDX-License-Identifier: Apache-2.0
"""The vision transformer of I-JEPA: no class token, fixed positions, only visible tokens computed.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv 2010.11929), in the variant of Assran et al.
(arXiv 2301.08243): pre-norm blocks, exact GELU, layer-norm epsilon 1e-6, bias on query, key and value, final
norm, no dropout. State-dict names (``pos_embed, patch_embed.proj.*, blocks.i.*, norm.*``) are those of the
official release and of timm.
"""

import contextlib
import copy
import math
from typing import Any, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor, nn

from conjoin.core.nn import Block, Hide, Init, gather_rows, resize_positions, sincos_positions
from conjoin.core.nn.transformer import run_intermediate
from conjoin.core.spec import SelfDescribing, SpecError, describe, record
from conjoin.vision.encoders.patch_embed import PatchEmbed

__all__ = (
    "VARIANTS",
    "ViT",
    "ViTOptions",
    "build_vit",
    "vit_base",
    "vit_giant",
    "vit_huge",
    "vit_large",
    "vit_small",
    "vit_tiny",
)


class Variant(NamedTuple):
    """Sizes of a named vision transformer."""

    dim: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0


VARIANTS: dict[str, Variant] = {
    "vit_tiny": Variant(192, 12, 3),
    "vit_small": Variant(384, 12, 6),
    "vit_base": Variant(768, 12, 12),
    "vit_large": Variant(1024, 24, 16),
    "vit_huge": Variant(1280, 32, 16),
    "vit_giant": Variant(1408, 40, 16, 48 / 11),
}
"""The variants of the official release."""


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """A height and a width from one number or two."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


class ViT(SelfDescribing, nn.Module):
    """Vision transformer over patch tokens.

    Args:
        image_size: Height and width in pixels, or one number for both.
        patch_size: Height and width of a patch in pixels, or one number for both.
        in_channels: Channels of the image.
        dim: Width of the tokens.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        layer_scale: First value of the LayerScale on the residual branches; None for none.
        init: Scheme of the initial weights, ``"official"`` or ``"xavier"``.
        patch_gain: Factor on the initial patch projection: how loud content is beside position.
        patch_dc: Share of the mean of each patch filter that is left in it.
        device: Where the weights live.
        dtype: Their type.

    Attributes:
        embed_dim: Width of the tokens.
        grid: (rows, columns) of patches; tokens are in raster order.

    Raises:
        ValueError: If the image does not consist of whole patches, or a size does not fit another.
    """

    pos_embed: Tensor

    def __init__(
        self,
        image_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_channels: int = 3,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        *,
        layer_scale: float | None = None,
        init: Init = "official",
        patch_gain: float = 1.0,
        patch_dc: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"A vision transformer needs at least one block, got depth {depth}.")
        self.embed_dim = dim
        self.heads = heads
        self.patch_embed = PatchEmbed(
            pair(image_size),
            pair(patch_size),
            in_channels,
            dim,
            init=init,
            gain=patch_gain,
            dc=patch_dc,
            device=device,
            dtype=dtype,
        )
        # A buffer, not a frozen parameter: fine-tuning that unfreezes an encoder must not train it.
        self.register_buffer(
            "pos_embed", torch.empty(1, math.prod(self.grid), dim, device=device, dtype=dtype)
        )
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio, layer_scale=layer_scale, init=init, device=device, dtype=dtype)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, 1e-6, device=device, dtype=dtype)
        self.reset_parameters()

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.patch_embed.grid

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The fixed positions; the layers reset themselves."""
        if not self.pos_embed.is_meta:
            self.pos_embed.copy_(sincos_positions(self.grid, self.embed_dim))

    def forward(self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None) -> Tensor:
        """Encode.

        Args:
            x: (B, C, H, W) floats.
            keep: (B, K) long: encode these patches alone, as if there were no others; None for all N.
            hide: What the blocks are to see of the patch tokens; all of them if not given.

        Returns:
            (B, N or K, D).
        """
        tokens = self.embed(x, keep, hide)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def embed(self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None) -> Tensor:
        """Patch tokens with their positions, before the first block: (B, N or K, D)."""
        positions = self.pos_embed if keep is None else gather_rows(self.pos_embed[0], keep)
        tokens: Tensor = self.patch_embed(x, keep)
        return (tokens if hide is None else hide(tokens)) + positions

    def intermediate(self, x: Tensor, layers: int = 1) -> list[Tensor]:
        """Normed outputs of the last ``layers`` blocks, first to last: (B, N, D) each."""
        return run_intermediate(self.blocks, self.norm, self.embed(x), layers)

    def resized(self, image_size: int | tuple[int, int]) -> "ViT":
        """A copy for images of another size, its position table resized by bicubic interpolation.

        Raises:
            ValueError: If the new size does not consist of whole patches.
        """
        old, other = self.patch_embed, copy.deepcopy(self)
        new = PatchEmbed(pair(image_size), old.patch_size, old.in_channels, self.embed_dim, device="meta")
        other.patch_embed.image_size, other.patch_embed.grid = new.image_size, new.grid
        other.pos_embed = resize_positions(self.pos_embed, self.grid, new.grid)
        with contextlib.suppress(SpecError):
            spec = describe(self)
            record(other, {**spec, "init_args": {**spec["init_args"], "image_size": new.image_size}})
        return other

    def extra_repr(self) -> str:
        """The sizes that the children do not show."""
        return f"image_size={self.patch_embed.image_size}, grid={self.grid}, heads={self.heads}"


class ViTOptions(TypedDict, total=False):
    """What may be chosen for a named variant; see :class:`ViT`."""

    image_size: int | tuple[int, int]
    patch_size: int | tuple[int, int]
    in_channels: int
    layer_scale: float | None
    init: Init
    patch_gain: float
    patch_dc: float
    device: Any
    dtype: torch.dtype | None


def build_vit(name: str, **options: Unpack[ViTOptions]) -> ViT:
    """A vision transformer by the name of its variant, e.g. ``build_vit("vit_huge", patch_size=14)``.

    Raises:
        ValueError: If there is no such variant.
    """
    if name not in VARIANTS:
        raise ValueError(f"There is no vision transformer {name!r}; choose one of {', '.join(VARIANTS)}.")
    dim, depth, heads, mlp_ratio = VARIANTS[name]
    return ViT(dim=dim, depth=depth, heads=heads, mlp_ratio=mlp_ratio, **options)


def vit_tiny(**options: Unpack[ViTOptions]) -> ViT:
    """192 wide, 12 blocks, 3 heads: 5.5 M parameters with patch 16."""
    return build_vit("vit_tiny", **options)


def vit_small(**options: Unpack[ViTOptions]) -> ViT:
    """384 wide, 12 blocks, 6 heads: 21.7 M parameters with patch 16."""
    return build_vit("vit_small", **options)


def vit_base(**options: Unpack[ViTOptions]) -> ViT:
    """768 wide, 12 blocks, 12 heads: 85.8 M parameters with patch 16."""
    return build_vit("vit_base", **options)


def vit_large(**options: Unpack[ViTOptions]) -> ViT:
    """1024 wide, 24 blocks, 16 heads: 303.3 M parameters with patch 16."""
    return build_vit("vit_large", **options)


def vit_huge(**options: Unpack[ViTOptions]) -> ViT:
    """1280 wide, 32 blocks, 16 heads: 630.8 M parameters with patch 14."""
    return build_vit("vit_huge", **options)


def vit_giant(**options: Unpack[ViTOptions]) -> ViT:
    """1408 wide, 40 blocks, 16 heads, MLP 6144 wide: 1011.4 M parameters with patch 16."""
    return build_vit("vit_giant", **options)

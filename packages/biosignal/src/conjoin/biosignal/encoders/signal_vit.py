# SPDX-License-Identifier: Apache-2.0
"""The one-dimensional vision transformer of ECG-JEPA: register tokens, fixed positions, no bias anywhere.

Weimann and Conrad, "Self-Supervised Pre-Training with Joint-Embedding Predictive Architecture Boosts ECG
Classification Performance" (arXiv 2410.13867): pre-norm blocks, exact GELU, layer-norm epsilon 1e-6, no
dropout. Positions are added to the patches before hidden ones are left out; register tokens (Darcet et al.,
arXiv 2309.16588) have none and come after that. State-dict names (``registers, patch_embed.proj.weight,
blocks.i.*, norm.weight``) are those of the official release.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from conjoin.biosignal.tokenizers.patch1d import PatchEmbed1d
from conjoin.core.nn import Block, Hide, Init, gather_rows, init_weight_, sincos_positions
from conjoin.core.nn.transformer import run_intermediate
from conjoin.core.spec import SelfDescribing

__all__ = ("VARIANTS", "SignalViT", "Variant", "interleaved_positions")


class Variant(NamedTuple):
    """Sizes of a named encoder and of the predictor that belongs to it."""

    dim: int
    depth: int
    heads: int
    predictor_dim: int
    predictor_depth: int
    predictor_heads: int


VARIANTS: dict[str, Variant] = {
    "vit_xs": Variant(192, 8, 4, 96, 8, 4),
    "vit_s": Variant(384, 8, 6, 192, 8, 6),
    "vit_b": Variant(768, 12, 12, 384, 12, 12),
}
"""The variants of the paper."""


def interleaved_positions(length: int, dim: int) -> Tensor:
    """Sines in the even channels, cosines in the odd ones, base 10000: (length, dim).

    The frequencies are those of ``sincos_positions``, which keeps sines and cosines in two halves.
    """
    halves = sincos_positions((length,), dim + dim % 2)
    return halves.unflatten(1, (2, -1)).transpose(1, 2).flatten(1)[:, :dim]  # type: ignore[no-untyped-call, no-any-return]


class SignalViT(SelfDescribing, nn.Module):
    """Vision transformer over patches of time.

    Args:
        length: Longest signal in samples. Shorter ones use the first positions; nothing is interpolated.
        patch: Samples of a patch.
        in_channels: Channels (leads).
        dim: Width of the tokens.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        registers: Learned tokens put before the patches.
        keep_registers: Whether they come first in the output too; they are dropped otherwise.
        bias: Whether layers have a bias.
        init: Scheme of the initial weights; ``"official"`` also divides the layers that end a residual branch
            by ``sqrt(2 depth)``, as the release does.
        patch_gain: Factor on the initial patch projection.
        device: Where the weights live.
        dtype: Their type.

    Attributes:
        embed_dim: Width of the tokens.
        grid: (patches,) of the longest signal.

    Raises:
        ValueError: If ``length`` does not consist of whole patches, or a size does not fit another.
    """

    pos_embed: Tensor

    def __init__(
        self,
        length: int = 5000,
        patch: int = 25,
        in_channels: int = 12,
        dim: int = 192,
        depth: int = 8,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        *,
        registers: int = 1,
        keep_registers: bool = False,
        bias: bool = False,
        init: Init = "official",
        patch_gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"A vision transformer needs at least one block, got depth {depth}.")
        if patch < 1 or length < patch or length % patch:
            raise ValueError(
                f"The signal must consist of whole patches: length {length} is no multiple of patch {patch}"
                "; change the crop of the data or the patch."
            )
        if registers < 0 or (keep_registers and not registers):
            raise ValueError(f"There are {registers} registers; keep_registers needs at least one.")
        self.embed_dim = dim
        self.heads = heads
        self.length = length
        self.grid = (length // patch,)
        self.keep_registers = keep_registers
        factory = {"device": device, "dtype": dtype}
        self.registers = nn.Parameter(torch.empty(1, registers, dim, **factory)) if registers else None
        self.patch_embed = PatchEmbed1d(
            in_channels, dim, patch, bias=bias, init=init, gain=patch_gain, **factory
        )
        # A constant of the architecture: official files do not have it, and loading must not ask for it.
        self.register_buffer("pos_embed", torch.empty(1, *self.grid, dim, **factory), persistent=False)
        residual_gain = (2 * depth) ** -0.5 if init == "official" else 1.0
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio, bias=bias, init=init, residual_gain=residual_gain, **factory)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, 1e-6, bias=bias, **factory)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """New registers and the fixed positions; the layers reset themselves."""
        if self.registers is not None:
            init_weight_(self.registers)
        if not self.pos_embed.is_meta:
            self.pos_embed.copy_(interleaved_positions(self.grid[0], self.embed_dim))

    def forward(self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None) -> Tensor:
        """Encode.

        Args:
            x: (B, C, T) floats, T a multiple of the patch and at most ``length``.
            keep: (B, K) long: encode these patches alone, as if there were no others; None for all N.
            hide: What the blocks are to see of the patch tokens; all of them if not given.

        Returns:
            (B, N or K, D), or with R registers before them if ``keep_registers``.
        """
        tokens = self.embed(x, keep, hide)
        # Registers that nobody reads are keys and values of the last block and nothing more.
        drop = 0 if self.keep_registers or self.registers is None else self.registers.shape[1]
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, queries=slice(drop, None) if drop and number == last else None)
        normed: Tensor = self.norm(tokens)
        return normed

    def embed(self, x: Tensor, keep: Tensor | None = None, hide: Hide | None = None) -> Tensor:
        """Registers, then patch tokens with their positions, before the first block: (B, R + N or K, D).

        Raises:
            ValueError: If the signal is longer than the encoder was made for.
        """
        if x.shape[-1] > self.length:
            raise ValueError(
                f"The signal has {x.shape[-1]} samples, but the encoder was made for at most {self.length}: "
                "crop it, or average over windows."
            )
        tokens: Tensor = self.patch_embed(x, keep)
        if hide is not None:
            tokens = hide(tokens)
        if keep is None:
            tokens = tokens + self.pos_embed[:, : tokens.shape[1]]
        else:
            tokens = tokens + gather_rows(self.pos_embed[0], keep)
        if self.registers is None:
            return tokens
        return torch.cat((self.registers.expand(len(tokens), -1, -1).to(tokens.dtype), tokens), dim=1)

    def intermediate(self, x: Tensor, layers: int = 1) -> list[Tensor]:
        """Normed outputs of the last ``layers`` blocks, first to last: each as :meth:`forward` returns it."""
        outputs = run_intermediate(self.blocks, self.norm, self.embed(x), layers)
        drop = 0 if self.keep_registers or self.registers is None else self.registers.shape[1]
        return [tokens[:, drop:] for tokens in outputs]

    def extra_repr(self) -> str:
        """The sizes that the children do not show."""
        return f"length={self.length}, grid={self.grid}, heads={self.heads}"

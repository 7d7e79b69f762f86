# SPDX-License-Identifier: Apache-2.0
"""From images to patch tokens, computing only the patches that are kept."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn import Init, PatchProjection

__all__ = ("PatchEmbed",)


class PatchEmbed(nn.Module):
    """Cuts an image into non-overlapping patches and projects each to a token.

    The same function as a convolution with kernel and stride of one patch, written as a matrix product over
    patches, so that hidden patches can be left out before the product instead of after it.

    Args:
        image_size: Height and width in pixels, both divisible by the patch.
        patch_size: Height and width of a patch in pixels.
        in_channels: Channels of the image.
        dim: Width of the tokens.
        init: Scheme of the initial weights.
        gain: See ``PatchProjection``.
        dc: See ``PatchProjection``.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If the image does not consist of whole patches.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        patch_size: tuple[int, int],
        in_channels: int,
        dim: int,
        *,
        init: Init = "official",
        gain: float = 1.0,
        dc: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for side, size, patch in zip(("height", "width"), image_size, patch_size, strict=True):
            if patch < 1 or size < patch or size % patch:
                raise ValueError(
                    f"The image {side} must be a multiple of the patch {side}, got {size} and {patch} "
                    "pixels; change image_size (and the crop of the data) or patch_size."
                )
        self.image_size = image_size
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.grid = (image_size[0] // patch_size[0], image_size[1] // patch_size[1])
        self.proj = PatchProjection(
            in_channels, dim, patch_size, init=init, gain=gain, dc=dc, device=device, dtype=dtype
        )

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patch and project.

        Args:
            x: (B, C, H, W) floats.
            keep: (B, K) long, cells of the grid in raster order; None for all N.

        Returns:
            (B, N or K, D).

        Raises:
            ValueError: If the images have another shape than the embedding was made for.
        """
        if x.ndim != 4 or x.shape[1:] != (self.in_channels, *self.image_size):
            raise ValueError(
                f"The encoder was made for images (B, {self.in_channels}, {self.image_size[0]}, "
                f"{self.image_size[1]}), got {tuple(x.shape)}."
            )
        (rows, columns), (height, width) = self.grid, self.patch_size
        patches = torch.unflatten(torch.unflatten(x, 3, (columns, width)), 2, (rows, height))
        patches = patches.permute(0, 2, 4, 1, 3, 5)
        if keep is None:
            patches = patches.flatten(1, 2)
        else:
            sample = torch.arange(len(x), device=x.device).unsqueeze(1)
            patches = patches[sample, keep.div(columns, rounding_mode="floor"), keep % columns]
        return F.linear(patches.flatten(2), self.proj.weight.flatten(1), self.proj.bias)

# SPDX-License-Identifier: Apache-2.0
"""From a multichannel signal to patch tokens, computing only the patches that are kept.

A patch is a stretch of time over all channels, as in ECG-JEPA (arXiv 2410.13867): 25 samples at 500 Hz are 50
ms.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.nn import Init, init_weight_

__all__ = ("PatchEmbed1d",)


class _Projection(nn.Conv1d):
    """A convolution with kernel and stride of one patch that starts from a named scheme."""

    def __init__(
        self,
        in_channels: int,
        dim: int,
        patch: int,
        *,
        bias: bool,
        init: Init,
        gain: float,
        device: Any,
        dtype: torch.dtype | None,
    ) -> None:
        self.init: Init = init
        self.gain = gain
        super().__init__(in_channels, dim, patch, stride=patch, bias=bias, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """New weights by the scheme, zero bias."""
        if self.init == "xavier":
            # Input of unit mean square gives content of rms ``gain``, whatever the patch.
            nn.init.normal_(self.weight, std=self.gain / math.sqrt(self.weight[0].numel()))
        else:
            init_weight_(self.weight, self.init, self.gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class PatchEmbed1d(nn.Module):
    """Cuts a signal into patches and projects each to a token.

    The same function as a convolution whose kernel and stride are one patch, written as a matrix product over
    patches, so that hidden patches can be left out before the product instead of after it.

    Args:
        in_channels: Channels (leads) C.
        dim: Width of the tokens.
        patch: Samples of a patch.
        bias: Whether the projection has a bias.
        init: Scheme of the initial weights.
        gain: Factor on the scheme's standard deviation: how loud content is beside position.
        device: Where the weights live.
        dtype: Their type.

    Raises:
        ValueError: If a size is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        patch: int,
        *,
        bias: bool = True,
        init: Init = "official",
        gain: float = 1.0,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("patch", patch), ("gain", gain)):
            if value <= 0:
                raise ValueError(f"PatchEmbed1d: {name} is {value}; it must be positive.")
        self.in_channels = in_channels
        self.patch = patch
        self.proj = _Projection(
            in_channels, dim, patch, bias=bias, init=init, gain=gain, device=device, dtype=dtype
        )

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patch and project.

        Args:
            x: (B, C, T) floats, T a multiple of the patch.
            keep: (B, K) long, patches in order of time; None for all N.

        Returns:
            (B, N or K, D).

        Raises:
            ValueError: If the signals have other channels or do not consist of whole patches.
        """
        if x.ndim != 3 or x.shape[1] != self.in_channels or x.shape[2] % self.patch or not x.shape[2]:
            raise ValueError(
                f"The encoder was made for signals (B, {self.in_channels}, T) with T a multiple of "
                f"{self.patch}, got {tuple(x.shape)}."
            )
        patches = torch.unflatten(x, 2, (-1, self.patch)).transpose(1, 2)
        if keep is not None:
            patches = patches[torch.arange(len(x), device=x.device).unsqueeze(1), keep]
        return F.linear(patches.flatten(2), self.proj.weight.flatten(1), self.proj.bias)

    def extra_repr(self) -> str:
        """The sizes that the projection does not show by name."""
        return f"in_channels={self.in_channels}, patch={self.patch}"

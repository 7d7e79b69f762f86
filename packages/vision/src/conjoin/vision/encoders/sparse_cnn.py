# SPDX-License-Identifier: Apache-2.0
"""A convolutional network of timm that can look at a part of an image.

:class:`~conjoin.vision.encoders.timm_encoder.TimmEncoder` gives the cells of a network's last map as tokens;
here a subset of the cells can be asked for, and the rest of the image is then not there: its pixels are
zeroed, and every layer keeps hidden positions at zero (:mod:`conjoin.vision.encoders.masked_layers`).
"""

from typing import Any, cast

import torch
from timm.models.convnext import ConvNeXt
from timm.models.resnet import ResNet
from torch import Tensor, nn

from conjoin.core.nn import gather_tokens
from conjoin.vision.encoders.masked_layers import Visible, run
from conjoin.vision.encoders.timm_encoder import TimmEncoder

__all__ = ("SparseCNN",)


class SparseCNN(TimmEncoder):
    """A ResNet or ConvNeXt of timm whose tokens are the cells of its last feature map.

    Without ``keep`` it is the dense network, weight for weight and name for name.

    Args:
        name: ``"resnet18"``, ``"resnet50"``, ``"wide_resnet50_2"``, ``"convnext_tiny"`` ... of timm; without
            channel attention, anti-aliasing or global response normalisation.
        image_size: Height and width in pixels, or one number; multiples of the network's stride. None for
            the model's own.
        in_channels: Channels of the image.
        pretrained: Download timm's weights for it.
        options: Further arguments of ``timm.create_model``, such as ``output_stride`` (8, 16 or 32) and,
            for a ResNet, ``channels`` per stage.
        sync_batch_norm: Whether batch norms use the statistics of all ranks, so that many processes compute
            what one would.

    Attributes:
        stride: Pixels per side of a cell.

    Raises:
        ValueError: If timm has no such model, it has layers that need the whole image, or the size is not a
            multiple of its stride.
    """

    def __init__(
        self,
        name: str,
        image_size: int | tuple[int, int] | None = None,
        in_channels: int = 3,
        pretrained: bool = False,
        options: dict[str, Any] | None = None,
        sync_batch_norm: bool = True,
    ) -> None:
        super().__init__(name, image_size, in_channels, pretrained, options)
        if not isinstance(self.model, ResNet | ConvNeXt):
            raise ValueError(
                f"{name!r} of timm is a {type(self.model).__name__}; only ResNets and ConvNeXts can be run "
                "on a part of an image."
            )
        if isinstance(self.model, ConvNeXt):
            # Pooling, norm and classifier come after the map; unused weights would disturb DDP.
            cast(Any, self.model).head = nn.Identity()
        self.stride = int(cast(Any, self.model).feature_info[-1]["reduction"])
        self.sync_batch_norm = sync_batch_norm
        for side in self.image_size:
            if side % self.stride:
                low = max(1, side // self.stride) * self.stride
                raise ValueError(
                    f"image_size {side} is not a multiple of {self.stride}, the stride of {name!r}: choose "
                    f"{low} or {low + self.stride}."
                )
        self._try()

    @torch.no_grad()
    def _try(self) -> None:
        """Find layers that cannot be masked now and not in training."""
        was_training = self.training
        weight = next(self.parameters())
        x = weight.new_zeros(1, self.in_channels, *self.image_size)
        cells = torch.ones(1, 1, *self.grid, dtype=torch.bool, device=x.device)
        run(self.eval().model, x, Visible(cells))
        self.train(was_training)

    def forward(  # type: ignore[override]  # what is hidden is left out, not replaced
        self, x: Tensor, keep: Tensor | None = None, padding: Tensor | None = None
    ) -> Tensor:
        """Encode.

        Args:
            x: (B, C, H, W) floats.
            keep: (B, K) long: cells that are visible; None for all N.
            padding: (B, K) bool, True where an entry of ``keep`` is none; its row of the result says nothing.

        Returns:
            (B, N or K, D).

        Raises:
            ValueError: If ``keep`` does not fit the image or the grid.
        """
        if keep is None:
            return _tokens(run(self.model, x, Visible(None, self.sync_batch_norm)))
        visible = Visible(self._cells(x, keep, padding), self.sync_batch_norm)
        return gather_tokens(_tokens(run(self.model, visible.hide(x), visible)), keep)

    def _cells(self, x: Tensor, keep: Tensor, padding: Tensor | None) -> Tensor:
        """The cells of ``keep`` as a map (B, 1, rows, columns)."""
        rows, columns = self.grid
        if x.shape[-2:] != self.image_size:
            raise ValueError(
                f"Images of {tuple(x.shape[-2:])} pixels came to an encoder for {self.image_size}: its masks "
                f"are made for a grid of {self.grid}."
            )
        if len(keep) != len(x):
            raise ValueError(f"keep has {len(keep)} rows for {len(x)} images: give one per image.")
        # Looking at the values would make a GPU wait.
        if keep.device.type == "cpu" and keep.numel() and not 0 <= int(keep.max()) < rows * columns:
            raise ValueError(
                f"keep holds cell {int(keep.max())}, but a grid of {self.grid} has cells 0 to "
                f"{rows * columns - 1}: make the masks for this grid."
            )
        cells = torch.zeros(len(x), rows * columns, dtype=torch.int64, device=x.device)
        real = torch.ones_like(keep) if padding is None else (~padding).to(keep.dtype)
        return (cells.scatter_add_(1, keep, real) > 0).view(-1, 1, rows, columns)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{super().extra_repr()}, stride={self.stride}, sync_batch_norm={self.sync_batch_norm}"


def _tokens(features: Tensor) -> Tensor:
    """(B, D, rows, columns) to (B, N, D)."""
    return features.flatten(2).transpose(1, 2)

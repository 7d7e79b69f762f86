# SPDX-License-Identifier: Apache-2.0
r"""The convolutional predictor of CNN-JEPA (Kalapos and Gyires-Toth 2024, arXiv 2408.07514, section 3).

The visible cells keep their place in the map, a learned token stands in all others, and a few
depthwise-separable convolutions carry content from one to the other: per layer

.. math:: z \leftarrow \mathrm{ReLU}(\mathrm{BN}(W_{1\times1} * (w_{k\times k} *_{\text{depthwise}} z))).

With L layers of k x k a cell sees L (k - 1) / 2 cells in each direction; no position table is needed.
"""

from typing import Literal

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from conjoin.core.nn import gather_tokens
from conjoin.vision.encoders.masked_layers import Visible, run

__all__ = ("SeparablePredictor",)


class SeparablePredictor(nn.Module):
    """Depthwise-separable convolutions over a map whose hidden cells hold a mask token.

    Args:
        dim: Channels of the encoder, kept throughout.
        grid: (rows, columns) of cells.
        depth: Layers.
        kernel: Side of the depthwise kernel, odd.
        norm: ``"batch"`` for encoders with batch norms, ``"layer"`` for ConvNeXt.
        sync_batch_norm: Whether batch norms use the statistics of all ranks.

    Raises:
        ValueError: If ``depth`` is below 1 or ``kernel`` is even.
    """

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        depth: int = 3,
        kernel: int = 3,
        norm: Literal["batch", "layer"] = "batch",
        sync_batch_norm: bool = True,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth is {depth}; a predictor needs at least one layer.")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; it must be odd, so that the map keeps its size.")
        self.grid = grid
        self.sync_batch_norm = sync_batch_norm
        self.mask_token = nn.Parameter(torch.empty(1, dim, 1, 1))
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [
                nn.Conv2d(dim, dim, kernel, padding="same", groups=dim),
                nn.Conv2d(dim, dim, 1),
                nn.BatchNorm2d(dim) if norm == "batch" else LayerNorm2d(dim),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)

    def reset_parameters(self) -> None:
        """Draw new weights: torch's defaults, and the token from a normal cut at one deviation of .02."""
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.LayerNorm):
                layer.reset_parameters()

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
            context: (B, Kc, D), features of the visible cells.
            context_index: (B, Kc) long, their places.
            target_index: (B, M, Kt) long, the cells to predict.
            context_valid: (B, Kc) bool, False where there is none.
            targets_valid: Not needed: what is read off the map for padding is not used.

        Returns:
            (B, M, Kt, D).
        """
        canvas = self.fill(context, context_index, context_valid)
        predicted = run(self.layers, canvas, Visible(None, self.sync_batch_norm))
        return gather_tokens(predicted.flatten(2).transpose(1, 2), target_index)

    def fill(self, context: Tensor, index: Tensor, valid: Tensor | None = None) -> Tensor:
        """The map (B, D, rows, columns): context where it is, the mask token elsewhere."""
        batch, _, dim = context.shape
        rows, columns = self.grid
        cells = rows * columns
        # Padding goes to a place behind the map, which is cut off.
        place = index if valid is None else torch.where(valid, index, cells)
        token = self.mask_token.to(context.dtype).view(1, 1, dim)
        canvas = token.expand(batch, cells + 1, dim).scatter(
            1, place.unsqueeze(-1).expand(-1, -1, dim), context
        )
        return canvas[:, :cells].transpose(1, 2).reshape(batch, dim, rows, columns)

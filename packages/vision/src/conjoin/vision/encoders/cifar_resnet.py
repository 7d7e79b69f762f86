# SPDX-License-Identifier: Apache-2.0
"""ResNets for small pictures: a 3 x 3 stem of stride 1 and no pooling after it.

The variant of all public CIFAR tables (SimCLR, arXiv 2002.05709, appendix B.9; solo-learn, lightly): the stem
of the ImageNet networks would leave one cell of a picture of 32 pixels.
"""

from typing import Any

from torch import nn

from conjoin.vision.encoders.timm_encoder import TimmEncoder

__all__ = ("CIFARResNet",)


class CIFARResNet(TimmEncoder):
    """A ResNet of timm with the stem for small pictures.

    Args:
        name: A ResNet of timm with a plain stem: ``"resnet18"``, ``"resnet50"``.
        image_size: Height and width in pixels, or one number.
        in_channels: Channels of the image.
        options: Further arguments of ``timm.create_model``.

    Raises:
        ValueError: If the model's stem is not a plain convolution with pooling.
    """

    def __init__(
        self,
        name: str = "resnet18",
        image_size: int | tuple[int, int] = 32,
        in_channels: int = 3,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, image_size, in_channels, options=options)
        model: Any = self.model
        stem = getattr(model, "conv1", None)
        if not isinstance(stem, nn.Conv2d) or not hasattr(model, "maxpool"):
            raise ValueError(
                f"{name} has no plain ResNet stem: choose a model like resnet18, or use TimmEncoder."
            )
        model.conv1 = nn.Conv2d(in_channels, stem.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
        self.grid = self._find_grid()

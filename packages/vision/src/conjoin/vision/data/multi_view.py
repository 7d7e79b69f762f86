# SPDX-License-Identifier: Apache-2.0
"""Several views of each picture from any picture data module."""

from typing import Any

from torch import Tensor
from torchvision.transforms.v2 import functional

from conjoin.core.data import MultiView
from conjoin.vision.data.module import ImageModule
from conjoin.vision.transforms.normalize import normalize
from conjoin.vision.transforms.policies import ImageViews

__all__ = ("MultiViewImages",)


class MultiViewImages(MultiView):
    """:class:`conjoin.core.data.MultiView` for pictures: views keep their sizes.

    Pictures are read as ``data`` reads them. Folder data sets shrink large files to what their own crops
    need: give ``data`` the policy's least ``scale``.

    Args:
        data: The picture data module; its training crop and its flip are not used.
        views: A policy of :mod:`conjoin.vision.transforms.policies`.
    """

    data: ImageModule

    def __init__(self, data: ImageModule, views: ImageViews) -> None:
        super().__init__(data, views)

    def view_transform(self, batch: dict[str, Any], train: bool) -> Tensor:
        """Channels and normalisation of one view on its device: uint8 (B, C, h, w) to float32."""
        x: Tensor = batch["x"]
        if x.shape[-3] == 1 and self.data.channels == 3:
            x = x.expand(*x.shape[:-3], 3, *x.shape[-2:])
        elif x.shape[-3] == 3 and self.data.channels == 1:
            x = functional.rgb_to_grayscale(x)
        return normalize(x, self.data.mean, self.data.std)

# SPDX-License-Identifier: Apache-2.0
"""Normalisation of whole batches, on whatever device they are.

Workers hand over uint8: a quarter of the bytes through shared memory and to the device, and one fused pass
here instead of one per picture.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ("IMAGENET_MEAN", "IMAGENET_STD", "denormalize", "normalize")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=torch.float32).view(-1, 1, 1)


def normalize(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(x / 255 - mean) / std`` for uint8, ``(x - mean) / std`` for floats that lie in [0, 1].

    Args:
        x: (..., C, H, W).
        mean: Per channel, in [0, 1].
        std: Per channel, positive.

    Returns:
        float32 (..., C, H, W).
    """
    unit = 255.0 if x.dtype == torch.uint8 else 1.0
    scale = 1 / (_column(std, x) * unit)
    return torch.addcmul(-_column(mean, x) * unit * scale, x.to(torch.float32), scale)


def denormalize(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The inverse, for showing pictures: float32 in [0, 1], what lies outside clamped."""
    return torch.addcmul(_column(mean, x), x.to(torch.float32), _column(std, x)).clamp_(0, 1)

# SPDX-License-Identifier: Apache-2.0
"""The picture transforms of I-JEPA (Assran et al., CVPR 2023, https://arxiv.org/abs/2301.08243).

Training takes a random resized crop and nothing else: flip, colour and blur exist and are off, as in the
released settings. Evaluation takes the centre. Both work on uint8 tensors and draw from the global
generators, which :class:`conjoin.core.data.KeyedDataset` seeds for each sample. A picture smaller than the
crop is enlarged.
"""

from typing import cast

from torch import Tensor, nn
from torchvision.transforms import v2

__all__ = ("EvalCrop", "TrainCrop")


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, not {size}.")


class TrainCrop(nn.Module):
    """Random resized crop, then optionally flip, colour distortion and blur.

    Args:
        size: Side of the result.
        scale: Least and greatest share of the picture's area.
        ratio: Least and greatest width by height of the crop.
        flip: Probability of a horizontal flip.
        color: Strength of the colour distortion, 0 for none: with probability 0.8 a jitter of 0.8 times this
            in brightness, contrast, saturation and 0.2 times in hue, then gray with probability 0.2.
        blur: Probability of a Gaussian blur with a standard deviation between 0.1 and 2 pixels.

    Raises:
        ValueError: If an argument lies outside its range.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.3, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        *,
        flip: float = 0.0,
        color: float = 0.0,
        blur: float = 0.0,
    ) -> None:
        super().__init__()
        _check_size(size)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be two ascending shares of the area in (0, 1], not {tuple(scale)}.")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio must be two ascending positive numbers, not {tuple(ratio)}.")
        for name, probability in (("flip", flip), ("blur", blur)):
            if not 0 <= probability <= 1:
                raise ValueError(f"{name} is a probability in [0, 1], not {probability}.")
        if not 0 <= color <= 2.5:
            raise ValueError(f"color must lie in [0, 2.5] (hue shifts end at half a turn), not {color}.")
        steps: list[nn.Module] = [v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=True)]
        if flip:
            steps.append(v2.RandomHorizontalFlip(flip))
        if color:
            jitter = v2.ColorJitter(0.8 * color, 0.8 * color, 0.8 * color, 0.2 * color)
            steps += [v2.RandomApply([jitter], p=0.8), v2.RandomGrayscale(0.2)]
        if blur:
            # Wide enough for three standard deviations of the strongest blur.
            steps.append(v2.RandomApply([v2.GaussianBlur(13, sigma=(0.1, 2.0))], p=blur))
        self.steps = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        """A picture (C, H, W) to (C, size, size), type kept."""
        return cast(Tensor, self.steps(x))


class EvalCrop(nn.Module):
    """Resize the shorter side, then cut out the centre.

    Args:
        size: Side of the result.
        resize: Length of the shorter side before the cut; ``size * 8 / 7`` (256 for 224) if not given.

    Raises:
        ValueError: If ``resize`` is smaller than ``size``.
    """

    def __init__(self, size: int, resize: int | None = None) -> None:
        super().__init__()
        _check_size(size)
        self.resize = round(size * 8 / 7) if resize is None else resize
        if self.resize < size:
            raise ValueError(
                f"resize ({resize}) must be at least size ({size}): the centre would not fill the crop."
            )
        self.steps = nn.Sequential(v2.Resize(self.resize, antialias=True), v2.CenterCrop(size))

    def forward(self, x: Tensor) -> Tensor:
        """A picture (C, H, W) to (C, size, size), type kept."""
        return cast(Tensor, self.steps(x))

# SPDX-License-Identifier: Apache-2.0
"""The augmentation of one view of a picture, as all two-view papers write it.

Random resized crop, flip, colour jitter, gray, blur, solarisation, in this order: the pipeline of SimCLR
(Chen et al., arXiv 2002.05709) with BYOL's solarisation (Grill et al., arXiv 2006.07733). Papers differ in
numbers, which :mod:`conjoin.vision.transforms.policies` holds. It works on uint8 tensors and draws from the
global generators, which are seeded for each sample and epoch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

__all__ = ("Augment",)


@dataclass(frozen=True)
class Augment:
    """One view of a picture (C, H, W), uint8.

    Args:
        size: Side of the view.
        scale: Least and greatest share of the area that the crop keeps.
        ratio: Least and greatest width by height of the crop.
        flip: Probability of a horizontal flip.
        jitter: Strengths of brightness, contrast, saturation and hue.
        jitter_p: Probability of the jitter.
        gray: Probability of gray.
        blur: Probability of a Gaussian blur.
        sigma: Least and greatest standard deviation of the blur in pixels.
        solarize: Probability of inverting the values from 128 on.
        bicubic: Resize by cubic interpolation instead of linear.

    Raises:
        ValueError: If an argument lies outside its range.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    gray: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    bicubic: bool = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, not {self.size}.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f"scale must be two ascending shares of the area in (0, 1], not {tuple(self.scale)}."
            )
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be two ascending positive numbers, not {tuple(self.ratio)}.")
        for name in ("flip", "jitter_p", "gray", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability in [0, 1], not {getattr(self, name)}.")
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise ValueError(
                f"jitter must not be negative, and its hue at most half a turn, not {self.jitter}."
            )
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma must be two ascending positive numbers, not {tuple(self.sigma)}.")

    @cached_property
    def crop(self) -> v2.RandomResizedCrop:
        """The first step."""
        how = InterpolationMode.BICUBIC if self.bicubic else InterpolationMode.BILINEAR
        return v2.RandomResizedCrop(
            self.size, scale=self.scale, ratio=self.ratio, interpolation=how, antialias=True
        )

    @cached_property
    def colours(self) -> nn.Sequential:
        """What follows crop and flip, for RGB pictures."""
        steps: list[nn.Module] = []
        if self.jitter_p and any(self.jitter):
            steps.append(v2.RandomApply([v2.ColorJitter(*self.jitter)], p=self.jitter_p))
        if self.gray:
            steps.append(v2.RandomGrayscale(self.gray))
        if self.blur:
            # Three standard deviations on both sides, as far as the picture allows (blurs of tiny pictures).
            reach = min(int(3 * self.sigma[1] + 0.5), (self.size - 1) // 2)
            steps.append(v2.RandomApply([v2.GaussianBlur(2 * reach + 1, sigma=self.sigma)], p=self.blur))
        if self.solarize:
            steps.append(v2.RandomSolarize(128, p=self.solarize))
        return nn.Sequential(*steps)

    def __call__(self, x: Tensor) -> Tensor:
        """A picture (C, H, W), uint8 and of three channels or one, to (C, size, size)."""
        return self.framed(x)[0]

    def framed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The view, and where it was cut: see :meth:`conjoin.core.data.SampleViews.framed`."""
        box = self.crop.make_params([x])
        view = cast(Tensor, self.crop.transform(x, box))
        sides = [(box["top"], box["height"]), (box["left"], box["width"])]
        step = torch.tensor([length / self.size for _, length in sides])
        start = torch.tensor([float(first) for first, _ in sides]) + step / 2 - 0.5
        if self.flip and torch.rand(1) < self.flip:
            view = view.flip(-1)
            start[1] += (self.size - 1) * step[1]
            step[1] = -step[1]
        # Colour operations want three channels.
        single = view.shape[-3] == 1
        changed = cast(Tensor, self.colours(view.expand(3, -1, -1) if single else view))
        return changed[:1] if single else changed, torch.stack((start, step), dim=1)

# SPDX-License-Identifier: Apache-2.0
"""The views of the papers, with their published numbers.

Each policy is made for a picture size and, where the papers have them, small crops. ``min_scale`` is what
users change most: the least share of the area of a (global) crop. ``small=True`` is the variant for CIFAR:
no blur, crops of 32 pixels.

=================  ========================================================================================
``SimCLRViews``    2 equal views; jitter (.8, .8, .8, .2) x strength, gray .2, blur .5 (2002.05709)
``BYOLViews``      2 unequal views: blur 1 and .1, solarisation 0 and .2; jitter (.4, .4, .2, .1); also of
                   Barlow Twins, VICReg, MoCo v3, TiCo and INTL (2006.07733, appendix B)
``MoCoViews``      2 equal views of MoCo v2 and SimSiam: crop .2, jitter (.4, .4, .4, .1), gray .2, blur .5
``SwAVViews``      2 x 224 (.14, 1) and 6 x 96 (.05, .14), jitter (.8, .8, .8, .2) (2006.09882)
``DINOViews``      2 x 224 (.4, 1), unequal as BYOL's, and 8 x 96 (.05, .4) with blur .5 (2104.14294)
``LeJEPAViews``    2 x 224 (.3, 1) and 6 x 96 (.05, .3), all with blur .5 and solarisation .2 (2511.08544)
=================  ========================================================================================
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from conjoin.core.data.views import SampleViews
from conjoin.vision.transforms.augment import Augment

__all__ = (
    "BYOLViews",
    "DINOViews",
    "ImageViews",
    "LeJEPAViews",
    "MoCoViews",
    "SimCLRViews",
    "SwAVViews",
)

_BYOL_JITTER = (0.4, 0.4, 0.2, 0.1)


class ImageViews(SampleViews):
    """A policy for pictures: one :class:`Augment` per view."""

    @abstractmethod
    def layout(self) -> Sequence[Augment]:
        """The views, global ones first."""

    @cached_property
    def _views(self) -> tuple[Augment, ...]:
        return tuple(self.layout())

    def __call__(self, x: Tensor) -> list[Tensor]:
        """A picture (C, H, W), uint8, to its views (C, s, s)."""
        return self.framed(x)[0]

    def framed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The same, and where each view was cut."""
        views, frames = zip(*(view.framed(x) for view in self._views), strict=True)
        return list(views), list(frames)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < (0 if name == "local_views" else 1):
            raise ValueError(f"{name} is too small: {count}.")


@dataclass(frozen=True)
class SimCLRViews(ImageViews):
    """SimCLR's views.

    Args:
        size: Side of the views.
        strength: Of the colour jitter: 1 for ImageNet, 0.5 for CIFAR-10.
        min_scale: Least share of the area.
        views: How many.
        small: Without blur.
    """

    size: int = 224
    strength: float = 1.0
    min_scale: float = 0.08
    views: int = 2
    small: bool = False

    def layout(self) -> list[Augment]:
        """``views`` equal views."""
        _check_counts(views=self.views)
        s = self.strength
        jitter = (0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)
        blur = 0.0 if self.small else 0.5
        return self.views * [Augment(self.size, (self.min_scale, 1.0), jitter=jitter, blur=blur)]


@dataclass(frozen=True)
class BYOLViews(ImageViews):
    """BYOL's unequal pair.

    Args:
        size: Side of the views.
        min_scale: Least share of the area: 0.08; 0.2 for MoCo v3 with a ResNet.
        small: Without blur, solarisation kept.
    """

    size: int = 224
    min_scale: float = 0.08
    small: bool = False

    def layout(self) -> list[Augment]:
        """A blurred view, and a rarely blurred one that may be solarised."""
        first, second = (0.0, 0.0) if self.small else (1.0, 0.1)
        scale = (self.min_scale, 1.0)
        return [
            Augment(self.size, scale, jitter=_BYOL_JITTER, blur=first),
            Augment(self.size, scale, jitter=_BYOL_JITTER, blur=second, solarize=0.2),
        ]


@dataclass(frozen=True)
class MoCoViews(ImageViews):
    """The views of MoCo v2 and SimSiam.

    Args:
        size: Side of the views.
        min_scale: Least share of the area.
        gray: Probability of gray: 0.2; 0.1 for W-MSE.
        views: How many.
        small: Without blur.
    """

    size: int = 224
    min_scale: float = 0.2
    gray: float = 0.2
    views: int = 2
    small: bool = False

    def layout(self) -> list[Augment]:
        """``views`` equal views."""
        _check_counts(views=self.views)
        blur = 0.0 if self.small else 0.5
        view = Augment(
            self.size, (self.min_scale, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), gray=self.gray, blur=blur,
            bicubic=False,
        )  # fmt: skip
        return self.views * [view]


@dataclass(frozen=True)
class SwAVViews(ImageViews):
    """SwAV's multi-crop.

    Args:
        size: Side of the two global views.
        local_size: Side of the local views.
        local_views: How many local views.
        global_scale: Shares of the area of the global views.
        local_scale: Shares of the area of the local views.
        small: Without blur.
    """

    size: int = 224
    local_size: int = 96
    local_views: int = 6
    global_scale: tuple[float, float] = (0.14, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.14)
    small: bool = False

    def layout(self) -> list[Augment]:
        """Two global views, then the local ones."""
        _check_counts(local_views=self.local_views)
        blur = 0.0 if self.small else 0.5

        def view(size: int, scale: tuple[float, float]) -> Augment:
            return Augment(size, scale, jitter=(0.8, 0.8, 0.8, 0.2), blur=blur, bicubic=False)

        return 2 * [view(self.size, self.global_scale)] + self.local_views * [
            view(self.local_size, self.local_scale)
        ]


@dataclass(frozen=True)
class DINOViews(ImageViews):
    """DINO's multi-crop.

    Args:
        size: Side of the two global views.
        local_size: Side of the local views.
        local_views: How many local views.
        global_scale: Shares of the area of the global views; published runs split at 0.25.
        local_scale: Shares of the area of the local views.
        small: Without blur.
    """

    size: int = 224
    local_size: int = 96
    local_views: int = 8
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.4)
    small: bool = False

    def layout(self) -> list[Augment]:
        """BYOL's pair, then the local views."""
        _check_counts(local_views=self.local_views)
        blurs = (0.0, 0.0, 0.0) if self.small else (1.0, 0.1, 0.5)
        local = Augment(self.local_size, self.local_scale, jitter=_BYOL_JITTER, blur=blurs[2])
        return [
            Augment(self.size, self.global_scale, jitter=_BYOL_JITTER, blur=blurs[0]),
            Augment(self.size, self.global_scale, jitter=_BYOL_JITTER, blur=blurs[1], solarize=0.2),
            *self.local_views * [local],
        ]


@dataclass(frozen=True)
class LeJEPAViews(ImageViews):
    """LeJEPA's global and local views, all with the same photometric set.

    Args:
        size: Side of the two global views.
        local_size: Side of the local views: a multiple of the patch (98 for 14, 96 for 16).
        local_views: How many local views; 0 for the minimal recipe, whose views are all global.
        global_views: How many global views.
        global_scale: Shares of the area of the global views.
        local_scale: Shares of the area of the local views.
        jitter: Strengths of brightness, contrast, saturation and hue; (.8, .8, .8, .2) in the minimal recipe.
        small: Without blur.
    """

    size: int = 224
    local_size: int = 96
    local_views: int = 6
    global_views: int = 2
    global_scale: tuple[float, float] = (0.3, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.3)
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    small: bool = False

    def layout(self) -> list[Augment]:
        """The global views, then the local ones."""
        _check_counts(global_views=self.global_views, local_views=self.local_views)
        blur = 0.0 if self.small else 0.5

        def view(size: int, scale: tuple[float, float]) -> Augment:
            return Augment(size, scale, jitter=self.jitter, blur=blur, solarize=0.2)

        return self.global_views * [view(self.size, self.global_scale)] + self.local_views * [
            view(self.local_size, self.local_scale)
        ]

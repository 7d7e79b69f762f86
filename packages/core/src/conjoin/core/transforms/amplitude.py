# SPDX-License-Identifier: Apache-2.0
"""What a view looks like: scaling, noise, blur, lost channels and lost stretches."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core import random
from conjoin.core.transforms.base import Transform, chance, check_probability, check_range
from conjoin.core.transforms.resample import along, gaussian

__all__ = ("Blur", "ChannelDropout", "Noise", "Scale", "SpanDropout")


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Values (B,) or (B, C) shaped to meet ``like`` (B, C, ...)."""
    return values.to(like.dtype).view(*values.shape, *[1] * (like.ndim - values.ndim))


@dataclass(frozen=True)
class Scale(Transform):
    """Multiply by a random factor.

    Args:
        factor: Least and greatest factor, drawn uniformly on a logarithmic scale.
        per_channel: A factor for each channel instead of one per sample.
    """

    factor: tuple[float, float] = (0.8, 1.25)
    per_channel: bool = False

    def __post_init__(self) -> None:
        check_range("factor", self.factor, 0, math.inf)

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        low, high = (math.log(value) for value in self.factor)
        draws = random.uniform(keys, x.shape[1] if self.per_channel else 1)
        return x * _per_sample(torch.exp(low + draws * (high - low)), x)


@dataclass(frozen=True)
class Noise(Transform):
    """Add white Gaussian noise.

    Args:
        std: Its standard deviation, in units of the (normalised) data.
        p: Probability that a sample gets any.
    """

    std: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("p", self.p)
        if not self.std >= 0:
            raise ValueError(f"std must not be negative, not {self.std}.")

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        noise = random.normal(keys, x[0].numel()).view(x.shape).to(x.dtype)
        where = chance(random.fold(random.key(0, "which"), keys), self.p, x)
        return torch.where(where, x + self.std * noise, x)


@dataclass(frozen=True)
class Blur(Transform):
    """Gaussian blur along all axes after the channels.

    Args:
        sigma: Least and greatest standard deviation in cells, drawn uniformly.
        p: Probability that a sample is blurred.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability("p", self.p)
        check_range("sigma", self.sigma, 0, math.inf)

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        draw = random.uniform(keys, 2)[:, 1]
        sigma = self.sigma[0] + draw * (self.sigma[1] - self.sigma[0])
        blurred = x
        for axis in range(2, x.ndim):
            blurred = along(blurred, gaussian(sigma, x.shape[axis]), axis)
        return torch.where(chance(keys, self.p, x), blurred, x)


@dataclass(frozen=True)
class ChannelDropout(Transform):
    """Set channels (leads, sensors, bands) to zero, each by chance, but never all of a sample.

    Args:
        p: Probability of each channel.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        check_probability("p", self.p)

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        draws = random.uniform(keys, x.shape[1])
        # The channel with the highest draw stays.
        keep = (draws >= self.p) | (draws == draws.amax(dim=1, keepdim=True))
        return x * _per_sample(keep, x)


@dataclass(frozen=True)
class SpanDropout(Transform):
    """Set one random stretch to zero along an axis: time masking, or a hidden band of a spectrogram.

    Args:
        share: Least and greatest share of the axis, drawn uniformly.
        axis: Which; the last one (time) if not given.
        p: Probability that a sample loses anything.
    """

    share: tuple[float, float] = (0.05, 0.3)
    axis: int = -1
    p: float = 1.0

    def __post_init__(self) -> None:
        check_probability("p", self.p)
        check_range("share", self.share, 0, 1)

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """(B, C, ...) to the same."""
        length = x.shape[self.axis]
        chosen, share, place = random.uniform(keys, 3).unbind(1)
        span = ((self.share[0] + share * (self.share[1] - self.share[0])) * length).round()
        start = (place * (length - span + 1)).floor()
        cell = torch.arange(length, device=x.device)
        lost = (cell >= start[:, None]) & (cell < (start + span)[:, None]) & (chosen < self.p)[:, None]
        shape = [len(x), *[1] * (x.ndim - 1)]
        shape[self.axis] = length
        return x.masked_fill(lost.view(shape), 0)

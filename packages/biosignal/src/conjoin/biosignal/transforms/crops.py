# SPDX-License-Identifier: Apache-2.0
"""Stretches of a recording: at random in training, all of them or the one in the middle in evaluation."""

import torch
from torch import Tensor, nn

from conjoin.core.data import Looks

__all__ = ("CenterCrop", "EvalWindows", "RandomCrop", "windows")


class _Crop(nn.Module):
    """A stretch of ``size`` samples.

    Args:
        size: Samples of the result.

    Raises:
        ValueError: If ``size`` is not positive.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"A crop has at least one sample, not {size}.")
        self.size = size

    def room(self, x: Tensor) -> int:
        """How many samples are to spare.

        Raises:
            ValueError: If the recording is shorter than the crop.
        """
        room = x.shape[-1] - self.size
        if room < 0:
            raise ValueError(
                f"A crop of {self.size} samples does not fit in a recording of {x.shape[-1]}: lower window."
            )
        return room

    def middle(self, x: Tensor) -> Tensor:
        """The stretch in the middle, float32."""
        start = self.room(x) // 2
        return x[..., start : start + self.size].float()

    def extra_repr(self) -> str:
        """The size."""
        return f"{self.size}"


class RandomCrop(_Crop):
    """A stretch at a random place, drawn from torch's global generator (seeded for each sample)."""

    def forward(self, x: Tensor) -> Tensor:
        """(C, T) to (C, size), float32."""
        start = int(torch.randint(self.room(x) + 1, ()))
        return x[..., start : start + self.size].float()


class CenterCrop(_Crop):
    """The stretch in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        """(C, T) to (C, size), float32."""
        return self.middle(x)


class EvalWindows(_Crop):
    """All stretches at a stride, over which evaluation averages; the one in the middle stands for them.

    They are laid out about the middle of the recording, so that what no stretch reaches (less than a stride)
    lies at both ends. A recording in which only one has room gives that one alone.

    Args:
        size: Samples of a stretch.
        stride: Samples between the starts of two stretches; half the size, as in the paper, if not given.

    Raises:
        ValueError: If ``size`` or ``stride`` is not positive.
    """

    def __init__(self, size: int, stride: int | None = None) -> None:
        super().__init__(size)
        self.stride = max(1, size // 2) if stride is None else stride
        if self.stride < 1:
            raise ValueError(f"Windows are at least one sample apart, not {stride}.")

    def forward(self, x: Tensor) -> Tensor | Looks:
        """(C, T) to the middle (C, size), and with it all W stretches (W, C, size) if there are several."""
        room = self.room(x)
        middle = self.middle(x)
        if room < self.stride:
            return middle
        first = room % self.stride // 2
        return Looks(middle, windows(x[None, :, first:], self.size, self.stride)[0].float())

    def extra_repr(self) -> str:
        """Size and stride."""
        return f"{self.size}, stride={self.stride}"


def windows(x: Tensor, size: int, stride: int) -> Tensor:
    """All stretches at a stride, as the paper tests: 7 of 1250 samples, 625 apart, in a record of 5000.

    Args:
        x: (B, C, T).
        size: Samples of a stretch.
        stride: Samples between the starts of two stretches.

    Returns:
        (B, W, C, size) with W = 1 + (T - size) // stride; average the W logits of a recording.

    Raises:
        ValueError: If no stretch fits.
    """
    if not 0 < size <= x.shape[-1] or stride < 1:
        raise ValueError(
            f"Windows of {size} samples every {stride} cannot be cut from recordings of {x.shape[-1]}."
        )
    return x.unfold(-1, size, stride).transpose(1, 2)

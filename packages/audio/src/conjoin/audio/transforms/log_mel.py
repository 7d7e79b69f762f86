# SPDX-License-Identifier: Apache-2.0
r"""Log-mel filter banks as Kaldi computes them, in plain PyTorch and for whole batches.

The front end of AST, AudioMAE and A-JEPA is Kaldi's ``fbank`` with a Hann window, no dither and no energy.
Per frame of 25 ms, every 10 ms, frames that would leave the signal left out:

1. subtract the frame's mean; 2. pre-emphasis :math:`x_t - 0.97\, x_{t-1}` with :math:`x_{-1} = x_0`; 3. the
symmetric Hann window; 4. power spectrum, zero-padded to the next power of two; 5. triangles that are straight
in :math:`\mathrm{mel}(f) = 1127 \ln(1 + f / 700)`, equally wide from 20 Hz to half the sampling rate, peak 1;
the Nyquist bin has no part in them; 6. the logarithm of at least the epsilon of float32.
"""

import torch
from torch import Tensor, nn

__all__ = ("LogMel", "Spectrogram", "mel", "mel_filters")


def mel(frequency: Tensor) -> Tensor:
    """Hertz to mel."""
    return 1127.0 * torch.log1p(frequency / 700.0)


def mel_filters(mels: int, size: int, rate: float, low: float, high: float) -> Tensor:
    """Triangular filters over the bins of a real Fourier transform: float64 (size // 2 + 1, mels).

    Args:
        mels: Filters.
        size: Points of the transform.
        rate: Samples per second.
        low: Lower edge of the first filter in hertz.
        high: Upper edge of the last.

    Raises:
        ValueError: If more than a twentieth of the filters cover no bin. One of A-JEPA's 128 at 16 kHz does
            not (the fourth), and is constant.
    """
    edges = mel(torch.tensor([low, high], dtype=torch.float64))
    corners = edges[0] + (edges[1] - edges[0]) * torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)
    bins = mel(torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size)[:, None]
    rise = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    filters[-1] = 0
    empty = int((filters.sum(dim=0) == 0).sum())
    if empty > mels // 20:
        raise ValueError(
            f"{empty} of {mels} mel filters cover no frequency bin at {rate:g} Hz with {size} points: use "
            "fewer mels."
        )
    return filters


class LogMel(nn.Module):
    """Waveforms to log-mel frames.

    Args:
        rate: Samples per second.
        mels: Filters F.
        window: Length of a frame in seconds.
        hop: Time between frames in seconds.
        low: Lower edge of the first filter in hertz.
        high: Upper edge of the last filter; None for half the rate.

    Attributes:
        width: Samples of a frame.
        stride: Samples between frames.

    Raises:
        ValueError: If the frequencies are not ascending or a filter would be empty.
    """

    taper: Tensor
    filters: Tensor

    def __init__(
        self,
        rate: int = 16_000,
        mels: int = 128,
        window: float = 0.025,
        hop: float = 0.010,
        low: float = 20.0,
        high: float | None = None,
    ) -> None:
        super().__init__()
        top = rate / 2 if high is None else high
        if not 0 <= low < top <= rate / 2:
            raise ValueError(
                f"The filters must lie between 0 and half the rate of {rate} Hz, low before high, not "
                f"{low:g} to {top:g}."
            )
        self.rate = rate
        self.mels = mels
        self.width, self.stride = round(rate * window), round(rate * hop)
        self.size = 1 << (self.width - 1).bit_length()
        # Constants, not state: checkpoints do not hold them.
        taper = torch.hann_window(self.width, periodic=False, dtype=torch.float64)
        self.register_buffer("taper", taper.float(), persistent=False)
        filters = mel_filters(mels, self.size, rate, low, top).float()
        self.register_buffer("filters", filters, persistent=False)

    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples."""
        return max(0, 1 + (samples - self.width) // self.stride)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, T) waveforms to (B, frames, F) natural logarithms.

        Raises:
            ValueError: If the waveforms are shorter than a frame.
        """
        if waves.shape[-1] < self.width:
            raise ValueError(
                f"A waveform of {waves.shape[-1]} samples is shorter than one frame of {self.width} at "
                f"{self.rate} Hz: "
                "pad it."
            )
        frames = waves.unfold(-1, self.width, self.stride)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat((frames[..., :1], frames[..., :-1]), dim=-1)
        spectrum = torch.fft.rfft((frames - 0.97 * before) * self.taper, self.size)
        power = spectrum.real.square() + spectrum.imag.square()
        logs: Tensor = (power @ self.filters).clamp(min=torch.finfo(torch.float32).eps).log()
        return logs

    def extra_repr(self) -> str:
        """The settings."""
        return f"rate={self.rate}, mels={self.mels}, width={self.width}, stride={self.stride}"


class Spectrogram(nn.Module):
    """Waveforms to the normalised maps that the encoder sees, as AST and AudioMAE prepare them.

    The waveform's own mean is subtracted first; missing frames are zero *before* normalisation, so they
    become ``-mean / (2 std)``, not 0.

    Args:
        log_mel: The filter banks.
        frames: Frames of a map; more are cut at the end, fewer padded with zeros.
        mean: Mean of the logarithms over a data set.
        std: Their standard deviation. Values are divided by *twice* this.

    Raises:
        ValueError: If ``std`` is not positive or there is no frame.
    """

    def __init__(self, log_mel: LogMel, frames: int, mean: float, std: float) -> None:
        super().__init__()
        if std <= 0 or frames < 1:
            raise ValueError(f"std must be positive and frames at least 1, not {std} and {frames}.")
        self.log_mel = log_mel
        self.frames = frames
        self.mean = mean
        self.std = std

    def forward(self, waves: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Transform.

        Args:
            waves: (B, T), zero behind each clip's end.
            lengths: (B,) samples of each clip; None for T.

        Returns:
            (B, 1, frames, F).
        """
        waves = waves.float()
        if lengths is None:
            lengths = torch.full((len(waves),), waves.shape[1], device=waves.device)
        inside = torch.arange(waves.shape[1], device=waves.device) < lengths[:, None]
        mean = waves.sum(dim=1, keepdim=True) / lengths[:, None]
        logs = self.log_mel((waves - mean).masked_fill(~inside, 0))[:, : self.frames]
        whole = 1 + (lengths - self.log_mel.width).div(self.log_mel.stride, rounding_mode="floor")
        missing = torch.arange(logs.shape[1], device=logs.device) >= whole[:, None]
        logs = logs.masked_fill(missing[..., None], 0)
        padded = nn.functional.pad(logs, (0, 0, 0, self.frames - logs.shape[1]))
        return ((padded - self.mean) / (2 * self.std)).unsqueeze(1)

    def extra_repr(self) -> str:
        """The settings."""
        return f"frames={self.frames}, mean={self.mean}, std={self.std}"

# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from conjoin.audio.transforms import LogMel, Spectrogram, mel, mel_filters


def wave(seconds=1.0, rate=16_000):
    """A tone, and noise that is the same everywhere: the sine of a square runs through all phases."""
    k = np.arange(round(seconds * rate), dtype=np.float64)
    x = 0.3 * np.sin(2 * np.pi * 440 * k / rate) + 0.1 * np.sin(0.37 * k**2)
    return torch.from_numpy(x).float()[None]


def by_hand(x, rate, mels):
    """Kaldi's definition frame by frame and filter by filter, in float64."""
    width, stride = round(rate * 0.025), round(rate * 0.010)
    size = 2 ** math.ceil(math.log2(width))
    top, low = (1127 * math.log(1 + f / 700) for f in (rate / 2, 20.0))
    step = (top - low) / (mels + 1)
    frames = []
    for first in range(0, len(x) - width + 1, stride):
        frame = x[first : first + width] - x[first : first + width].mean()
        sharp = np.array([frame[i] - 0.97 * frame[max(i - 1, 0)] for i in range(width)])
        sharp *= 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / (width - 1))
        power = np.abs(np.fft.fft(sharp, size)[: size // 2]) ** 2
        row = []
        for number in range(mels):
            left, centre, right = (low + step * (number + shift) for shift in range(3))
            total = 0.0
            for k, p in enumerate(power):
                m = 1127 * math.log(1 + k * rate / size / 700)
                if left < m <= centre:
                    total += p * (m - left) / (centre - left)
                elif centre < m < right:
                    total += p * (right - m) / (right - centre)
            row.append(math.log(max(total, 2.0**-23)))
        frames.append(row)
    return np.array(frames)


@pytest.mark.parametrize(("rate", "mels"), [(16_000, 128), (8000, 64)])
def test_equals_the_definition(rate, mels):
    x = wave(0.06, rate)
    x = x - x.mean()
    expected = by_hand(x[0].double().numpy(), rate, mels)
    np.testing.assert_allclose(LogMel(rate, mels)(x)[0], expected, rtol=0, atol=2e-3)


# Recorded from torchaudio.compliance.kaldi.fbank (2.11.0) with AudioMAE's arguments: two frames of `wave`.
BANDS = [0, 1, 5, 20, 40, 64, 100, 127]
RECORDED = {
    0: [-9.025, -15.9424, -12.7651, -0.9329, -7.1182, -4.6524, 2.2009, 3.1355],
    50: [-6.5557, -9.4068, -9.1138, -1.6933, -3.7131, -0.4021, 1.4531, 2.7915],
}


def test_equals_torchaudio():
    x = wave()
    out = LogMel()(x - x.mean())[0]
    assert out.shape == (98, 128)
    for frame, values in RECORDED.items():
        torch.testing.assert_close(out[frame, BANDS], torch.tensor(values), rtol=0, atol=2e-3)


def test_filters_are_triangles_that_meet():
    filters = mel_filters(128, 512, 16_000, 20.0, 8000.0)
    assert filters.shape == (257, 128)
    assert filters.min() == 0
    assert filters.max() <= 1
    assert (filters[-1] == 0).all()
    # Between the first and the last peak neighbours share each bin: their weights sum up to one.
    inner = mel(torch.arange(257, dtype=torch.float64) * 16_000 / 512)
    low, high = mel(torch.tensor([20.0, 8000.0], dtype=torch.float64))
    step = (high - low) / 129
    between = (inner > low + step) & (inner < high - step)
    torch.testing.assert_close(filters[between].sum(dim=1), torch.ones(int(between.sum())).double())


def test_ten_seconds_are_1024_frames_after_padding():
    spectrogram = Spectrogram(LogMel(), 1024, -4.2677393, 4.5689974)
    x = torch.randn(1, 160_000, generator=torch.Generator().manual_seed(0)) * 0.1
    out = spectrogram(x)
    assert spectrogram.log_mel.frames(160_000) == 998
    assert out.shape == (1, 1, 1024, 128)
    assert out[0, 0, 997].std() > 0
    # Padding is zero before normalisation.
    np.testing.assert_allclose(out[0, 0, 998:], 0.46703, atol=1e-5)
    logs = LogMel()(x - x.mean())[0]
    torch.testing.assert_close(out[0, 0, :998], (logs + 4.2677393) / (2 * 4.5689974), rtol=0, atol=1e-4)


def test_batched_clips_of_unlike_length_are_as_alone():
    spectrogram = Spectrogram(LogMel(8000, 64), 96, -5.0, 4.0)
    x = torch.randn(3, 8000, generator=torch.Generator().manual_seed(1)) + 0.5
    lengths = torch.tensor([8000, 3000, 200])
    padded = x.masked_fill(torch.arange(8000) >= lengths[:, None], 0)
    together = spectrogram(padded, lengths)
    assert together.shape == (3, 1, 96, 64)
    for row, length in enumerate(lengths.tolist()):
        alone = spectrogram(x[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-3)


def test_loudness_is_a_constant_and_silence_is_finite():
    x = wave(0.2)
    log_mel = LogMel()
    difference = log_mel(x * 10) - log_mel(x)
    torch.testing.assert_close(difference[0, :, 60], torch.full((18,), math.log(100.0)), rtol=0, atol=1e-3)
    silent = log_mel(torch.zeros(1, 400))
    np.testing.assert_allclose(silent, math.log(2.0**-23), rtol=1e-6)


def test_is_no_state_and_prints_itself():
    spectrogram = Spectrogram(LogMel(), 128, 0.0, 1.0)
    assert not spectrogram.state_dict()
    assert "rate=16000, mels=128, width=400, stride=160" in repr(spectrogram)
    assert "frames=128" in repr(spectrogram)


def test_guards():
    with pytest.raises(ValueError, match="399 samples is shorter than one frame of 400 at 16000 Hz"):
        LogMel()(torch.zeros(1, 399))
    with pytest.raises(ValueError, match="between 0 and half the rate of 16000 Hz"):
        LogMel(high=8001)
    with pytest.raises(ValueError, match=r"mel filters cover no frequency bin at 8000 Hz with 256 points"):
        LogMel(8000, 200)
    with pytest.raises(ValueError, match="std must be positive"):
        Spectrogram(LogMel(), 128, 0.0, 0.0)
    with pytest.raises(ValueError, match="frames at least 1"):
        Spectrogram(LogMel(), 0, 0.0, 1.0)

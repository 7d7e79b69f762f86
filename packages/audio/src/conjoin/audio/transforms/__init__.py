# SPDX-License-Identifier: Apache-2.0
"""From waveforms to log-mel spectrograms."""

from conjoin.audio.transforms.log_mel import LogMel, Spectrogram, mel, mel_filters
from conjoin.audio.transforms.waveform import CenterWindow, RandomWindow, resample, roll_and_gain

__all__ = (
    "CenterWindow",
    "LogMel",
    "RandomWindow",
    "Spectrogram",
    "mel",
    "mel_filters",
    "resample",
    "roll_and_gain",
)

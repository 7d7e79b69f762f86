# SPDX-License-Identifier: Apache-2.0
"""Sound for conjoin: spectrograms, their masks and A-JEPA."""

from conjoin.audio.data import ESC50, AudioSet, EmbeddedSounds, FrontEnd, SpeechCommands
from conjoin.audio.encoders import SpectrogramViT
from conjoin.audio.masking import TimeFrequencyMask
from conjoin.audio.methods import AJEPA, SoundFineTune

__all__ = (
    "AJEPA",
    "ESC50",
    "AudioSet",
    "EmbeddedSounds",
    "FrontEnd",
    "SoundFineTune",
    "SpectrogramViT",
    "SpeechCommands",
    "TimeFrequencyMask",
)

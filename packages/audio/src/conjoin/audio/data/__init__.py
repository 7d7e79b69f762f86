# SPDX-License-Identifier: Apache-2.0
"""Data modules for sound: embedded words and notes, ESC-50, Speech Commands, AudioSet-style lists."""

from conjoin.audio.data.audioset import AudioSet
from conjoin.audio.data.embedded import EmbeddedSounds
from conjoin.audio.data.esc50 import ESC50
from conjoin.audio.data.files import ClipDataset, FileDataset, read_wave
from conjoin.audio.data.module import AudioModule, FrontEnd
from conjoin.audio.data.speech_commands import SpeechCommands

__all__ = (
    "ESC50",
    "AudioModule",
    "AudioSet",
    "ClipDataset",
    "EmbeddedSounds",
    "FileDataset",
    "FrontEnd",
    "SpeechCommands",
    "read_wave",
)

# SPDX-License-Identifier: Apache-2.0
"""Systems for sound, one file each."""

from conjoin.audio.methods.a_jepa import AJEPA
from conjoin.audio.methods.fine_tune import SoundFineTune

__all__ = ("AJEPA", "SoundFineTune")

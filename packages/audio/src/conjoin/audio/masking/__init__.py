# SPDX-License-Identifier: Apache-2.0
"""Masks for spectrograms, and the curriculum over them."""

from conjoin.audio.masking.curriculum import Curriculum, competence, hard_share
from conjoin.audio.masking.time_frequency import TimeFrequencyMask, shares_line

__all__ = ("Curriculum", "TimeFrequencyMask", "competence", "hard_share", "shares_line")

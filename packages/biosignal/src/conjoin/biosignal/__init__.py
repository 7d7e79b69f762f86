# SPDX-License-Identifier: Apache-2.0
"""Biosignals for conjoin: ECG, EEG and other multichannel recordings."""

from conjoin.biosignal.convert.commands import CONVERTERS
from conjoin.biosignal.data import (
    CODE15,
    PTBXL,
    ChallengeECG,
    ECGMixture,
    ECGSource,
    EEGTrials,
    MimicECG,
    SimulatedECG,
    Statistics,
)
from conjoin.biosignal.encoders import SignalViT
from conjoin.biosignal.masking import RunMask
from conjoin.biosignal.methods import ECGJEPA

__all__ = (
    "CODE15",
    "CONVERTERS",
    "ECGJEPA",
    "PTBXL",
    "ChallengeECG",
    "ECGMixture",
    "ECGSource",
    "EEGTrials",
    "MimicECG",
    "RunMask",
    "SignalViT",
    "SimulatedECG",
    "Statistics",
)

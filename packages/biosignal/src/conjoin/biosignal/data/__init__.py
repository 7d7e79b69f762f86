# SPDX-License-Identifier: Apache-2.0
"""Data modules for recordings: embedded ECG and EEG, PTB-XL, MIMIC, the Challenge sets, CODE-15, mixtures."""

from conjoin.biosignal.data.code15 import CODE15
from conjoin.biosignal.data.embedded import EEGTrials, SimulatedECG
from conjoin.biosignal.data.leads import LEADS, STATISTICS, Statistics
from conjoin.biosignal.data.mixture import ECGMixture, ECGSource, MixedDataset
from conjoin.biosignal.data.module import SignalModule
from conjoin.biosignal.data.physionet import ChallengeECG, MimicECG
from conjoin.biosignal.data.ptbxl import PTBXL
from conjoin.biosignal.data.records import Preparation, RecordDataset, measure
from conjoin.biosignal.data.wfdb_record import Header, Record, read_header, read_record

__all__ = (
    "CODE15",
    "LEADS",
    "PTBXL",
    "STATISTICS",
    "ChallengeECG",
    "ECGMixture",
    "ECGSource",
    "EEGTrials",
    "Header",
    "MimicECG",
    "MixedDataset",
    "Preparation",
    "Record",
    "RecordDataset",
    "SignalModule",
    "SimulatedECG",
    "Statistics",
    "measure",
    "read_header",
    "read_record",
)

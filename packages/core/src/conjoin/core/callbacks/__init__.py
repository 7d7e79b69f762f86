# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks: the teacher's average, label-free monitors, online probes, frozen evaluation."""

from conjoin.core.callbacks.alarms import (
    Alarm,
    AssignmentCollapse,
    FeatureStdCollapse,
    LowContentShare,
    NonFiniteLoss,
    ProjectionCollapse,
    RankMeDrop,
    Reading,
)
from conjoin.core.callbacks.eigensteps import detect_steps
from conjoin.core.callbacks.ema import EMATeacher
from conjoin.core.callbacks.feature_buffer import FeatureBuffer
from conjoin.core.callbacks.frozen_evaluation import FrozenEvaluation
from conjoin.core.callbacks.monitor import RepresentationMonitor
from conjoin.core.callbacks.online_knn import OnlineKNN
from conjoin.core.callbacks.online_probe import OnlineProbe
from conjoin.core.callbacks.throughput import Throughput

__all__ = (
    "Alarm",
    "AssignmentCollapse",
    "EMATeacher",
    "FeatureBuffer",
    "FeatureStdCollapse",
    "FrozenEvaluation",
    "LowContentShare",
    "NonFiniteLoss",
    "OnlineKNN",
    "OnlineProbe",
    "ProjectionCollapse",
    "RankMeDrop",
    "Reading",
    "RepresentationMonitor",
    "Throughput",
    "detect_steps",
)

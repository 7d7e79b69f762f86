# SPDX-License-Identifier: Apache-2.0
"""Systems for biosignals, one file each, named as their papers."""

from conjoin.biosignal.methods.ecg_jepa import ECGJEPA, SignalPredictor

__all__ = ("ECGJEPA", "SignalPredictor")

# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with biosignal systems, from file to file.

Each function reads a whole file before it writes one, and writes under a temporary name first.
"""

import importlib.metadata
from pathlib import Path

import torch

from conjoin.biosignal.convert.official import from_official_ecg, to_official_ecg
from conjoin.biosignal.methods.ecg_jepa import ECGJEPA
from conjoin.core.checkpoint import load_model, self_description
from conjoin.core.checkpoint_io import replacing
from conjoin.core.converters import Converter

__all__ = ("CONVERTERS",)


def _official_to_conjoin(source: Path, target: Path) -> None:
    model = from_official_ecg(source)
    content = {
        "conjoin": self_description(model),
        "state_dict": model.state_dict(),
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": importlib.metadata.version("lightning"),
    }
    with replacing(target) as temporary:
        torch.save(content, temporary)


def _conjoin_to_official(source: Path, target: Path) -> None:
    model = load_model(source)
    if not isinstance(model, ECGJEPA):
        raise ValueError(f"{source} holds a {type(model).__name__}; only ECGJEPA has this official form.")
    with replacing(target) as temporary:
        to_official_ecg(model, temporary)


CONVERTERS = (
    Converter("official", "conjoin", "ECGJEPA", _official_to_conjoin),
    Converter("conjoin", "official", "ECGJEPA", _conjoin_to_official),
)

# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with tabular systems, from file to file.

Each function reads a whole file before it writes one, and writes under a temporary name first.
"""

import importlib.metadata
from pathlib import Path

import torch

from conjoin.core.checkpoint import load_model, self_description
from conjoin.core.checkpoint_io import replacing
from conjoin.core.converters import Converter
from conjoin.tabular.convert.official import from_official, to_official
from conjoin.tabular.methods.tjepa import TJEPA

__all__ = ("CONVERTERS",)


def _official_to_conjoin(source: Path, target: Path) -> None:
    model = from_official(source)
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
    if not isinstance(model, TJEPA):
        raise ValueError(f"{source} holds a {type(model).__name__}; this official form is TJEPA's.")
    with replacing(target) as temporary:
        to_official(model, temporary)


CONVERTERS = (
    Converter("official", "conjoin", "TJEPA", _official_to_conjoin),
    Converter("conjoin", "official", "TJEPA", _conjoin_to_official),
)

# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with vision systems, from file to file.

Each function reads a whole file before it writes one, and writes under a temporary name first.
"""

import importlib.metadata
import json
from pathlib import Path

import torch

from conjoin.core.checkpoint import load_model, self_description
from conjoin.core.checkpoint_io import replacing
from conjoin.core.converters import Converter
from conjoin.vision.convert.cnn_jepa import from_official_cnn_jepa, to_official_cnn_jepa
from conjoin.vision.convert.official import from_official, to_official
from conjoin.vision.encoders.vit import ViT
from conjoin.vision.methods.cnn_jepa import CNNJEPA
from conjoin.vision.methods.ijepa import IJEPA

__all__ = ("CONVERTERS",)


def _official_to_conjoin(source: Path, target: Path) -> None:
    _save(from_official(source), target)


def _official_cnn_jepa_to_conjoin(source: Path, target: Path) -> None:
    _save(from_official_cnn_jepa(source), target)


def _save(model: IJEPA | CNNJEPA, target: Path) -> None:
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
    if not isinstance(model, IJEPA):
        raise ValueError(f"{source} holds a {type(model).__name__}; only IJEPA has an official form.")
    with replacing(target) as temporary:
        to_official(model, temporary)


def _conjoin_to_official_cnn_jepa(source: Path, target: Path) -> None:
    model = load_model(source)
    if not isinstance(model, CNNJEPA):
        raise ValueError(f"{source} holds a {type(model).__name__}; this form is that of CNNJEPA.")
    to_official_cnn_jepa(model, target)


def _conjoin_to_timm(source: Path, target: Path) -> None:
    """The frozen encoder under timm's names; the metadata entry ``timm`` has the constructor's arguments."""
    from safetensors.torch import save_file

    from conjoin.vision.convert.timm import timm_arguments, to_timm

    encoder = load_model(source).representation
    if not isinstance(encoder, ViT):
        raise ValueError(f"{source} has a {type(encoder).__name__} as its encoder; timm takes a ViT.")
    metadata = {"format": "pt", "timm": json.dumps(timm_arguments(encoder))}
    with replacing(target) as temporary:
        save_file(to_timm(encoder), temporary, metadata)


CONVERTERS = (
    Converter("official", "conjoin", "IJEPA", _official_to_conjoin),
    Converter("conjoin", "official", "IJEPA", _conjoin_to_official),
    Converter("official", "conjoin", "CNNJEPA", _official_cnn_jepa_to_conjoin),
    Converter("conjoin", "official", "CNNJEPA", _conjoin_to_official_cnn_jepa),
    Converter("conjoin", "timm", "any", _conjoin_to_timm),
)

# SPDX-License-Identifier: Apache-2.0
"""What ``conjoin convert`` can do with vision systems, from file to file."""

import json
from pathlib import Path

from conjoin.core.checkpoint import load_model
from conjoin.core.checkpoint_io import replacing
from conjoin.core.converters import Converter, official_pair
from conjoin.vision.convert.cnn_jepa import from_official_cnn_jepa, to_official_cnn_jepa
from conjoin.vision.convert.official import from_official, to_official
from conjoin.vision.encoders.vit import ViT
from conjoin.vision.methods.cnn_jepa import CNNJEPA
from conjoin.vision.methods.ijepa import IJEPA

__all__ = ("CONVERTERS",)


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
    *official_pair(IJEPA, from_official, to_official),
    *official_pair(CNNJEPA, from_official_cnn_jepa, to_official_cnn_jepa),
    Converter("conjoin", "timm", "any", _conjoin_to_timm),
)

# SPDX-License-Identifier: Apache-2.0
"""Names of a ConvNeXt's tensors: those of its authors, which SparK and CNN-JEPA kept, and timm's.

Liu et al., "A ConvNet for the 2020s" (arXiv 2201.03545). The authors keep the stem among the downsampling
layers and call the two matrices of a block ``pwconv1`` and ``pwconv2``; timm puts each downsampling layer
into its stage and calls the matrices ``mlp.fc1`` and ``mlp.fc2``. The tensors are equal.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

__all__ = ("from_authors", "is_authors", "to_authors")

_IN_BLOCK = {
    "dwconv": "conv_dw",
    "norm": "norm",
    "pwconv1": "mlp.fc1",
    "pwconv2": "mlp.fc2",
    "gamma": "gamma",
}
_TO_BLOCK = {timm: authors for authors, timm in _IN_BLOCK.items()}
_AUTHORS_DOWN = re.compile(r"downsample_layers\.(\d)\.([01])\.(weight|bias)")
_AUTHORS_BLOCK = re.compile(
    r"stages\.(\d)\.(\d+)\.(dwconv|norm|pwconv1|pwconv2|gamma)((?:\.(?:weight|bias))?)"
)
_TIMM_STEM = re.compile(r"stem\.([01])\.(weight|bias)")
_TIMM_DOWN = re.compile(r"stages\.(\d)\.downsample\.([01])\.(weight|bias)")
_TIMM_BLOCK = re.compile(
    r"stages\.(\d)\.blocks\.(\d+)\.(conv_dw|norm|mlp\.fc1|mlp\.fc2|gamma)((?:\.(?:weight|bias))?)"
)


def is_authors(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the authors' names."""
    return any(name.startswith("downsample_layers.") for name in state)


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names to timm's.

    Raises:
        ValueError: If a tensor belongs to no ConvNeXt of theirs.
    """
    return _renamed(state, _timm_name)


def to_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Timm's names to the authors'.

    Raises:
        ValueError: If a tensor has no place in theirs: other stems, shortcuts or norms, convolutions as
            matrices.
    """
    return _renamed(state, _authors_name)


def _renamed(state: Mapping[str, Tensor], name_of: Callable[[str, Tensor], str | None]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        other = name_of(name, tensor)
        if other is None:
            raise ValueError(f"{name} {tuple(tensor.shape)} is no tensor of a plain ConvNeXt")
        found[other] = tensor
    return found


def _timm_name(name: str, tensor: Tensor) -> str | None:
    if match := _AUTHORS_DOWN.fullmatch(name):
        stage, layer, kind = match.groups()
        return f"stem.{layer}.{kind}" if stage == "0" else f"stages.{stage}.downsample.{layer}.{kind}"
    if match := _AUTHORS_BLOCK.fullmatch(name):
        stage, block, part, kind = match.groups()
        return f"stages.{stage}.blocks.{block}.{_IN_BLOCK[part]}{kind}"
    return None


def _authors_name(name: str, tensor: Tensor) -> str | None:
    if match := _TIMM_STEM.fullmatch(name):
        return f"downsample_layers.0.{match[1]}.{match[2]}"
    if match := _TIMM_DOWN.fullmatch(name):
        stage, layer, kind = match.groups()
        return f"downsample_layers.{stage}.{layer}.{kind}"
    if match := _TIMM_BLOCK.fullmatch(name):
        stage, block, part, kind = match.groups()
        if part.startswith("mlp") and tensor.ndim == 4:
            return None
        return f"stages.{stage}.{block}.{_TO_BLOCK[part]}{kind}"
    return None

# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the official ECG-JEPA release (kweimann/ECG-JEPA, MIT), in both directions.

A released file is a dictionary with ``model``, ``optimizer``, ``config`` and ``step``; ``model`` has the
tensors of ``encoder.*``, ``target_encoder.*`` and ``predictor.*``. A minified file has ``target_encoder.*``
alone. Position tables are not saved. Encoder names are the ones used here; the predictor's gain a prefix.
Nothing in the file is executed: it is opened with ``weights_only=True``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.biosignal.encoders.signal_vit import VARIANTS
from conjoin.biosignal.methods.ecg_jepa import ECGJEPA
from conjoin.core import checkpoint
from conjoin.core.checkpoint import CheckpointError

__all__ = ("from_official_ecg", "to_official_ecg")

_TEACHER = "target_encoder."
# The predictor's position table is a constant that the release does not save.
_TABLE = "predictor_pos_embed"


def from_official_ecg(
    path: str | Path,
    *,
    length: int = 5000,
    encoder_heads: int | None = None,
    predictor_heads: int | None = None,
    **options: Any,
) -> ECGJEPA:
    """Load an official file, whole or minified.

    Args:
        path: The file.
        length: Longest signal in samples, which no tensor shows.
        encoder_heads: Attention heads, which no tensor shows; None for those of the variant of the same
            width.
        predictor_heads: The same for the predictor.
        **options: Further arguments of ``ECGJEPA`` (``optim``, ``masks``, ``seed`` ...).

    Returns:
        The system. From a minified file the context encoder has the teacher's weights and the predictor new
        ones.

    Raises:
        CheckpointError: If the file is missing, unsafe, or not an ECG-JEPA checkpoint.
        ValueError: If the number of heads cannot be known.
    """
    content = checkpoint.load(path)
    state = content.get("model")
    if not isinstance(state, Mapping) or not any(str(name).startswith(_TEACHER) for name in state):
        raise CheckpointError(
            f"{path} has no 'model' with {_TEACHER}* tensors, so it is not a checkpoint of the official "
            f"ECG-JEPA; its keys are {', '.join(sorted(map(str, content)))}."
        )
    parts = {part: _below(state, part) for part in ("encoder.", _TEACHER, "predictor.")}
    try:
        model = _build(parts[_TEACHER], parts["predictor."], length, encoder_heads, predictor_heads, options)
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the tensor {error} of a signal transformer.") from error
    _fill(model.teacher, parts[_TEACHER], f"The target encoder in {path}")
    _fill(model.encoder, parts["encoder."] or parts[_TEACHER], f"The encoder in {path}")
    if parts["predictor."]:
        ours = {_renamed(name): tensor for name, tensor in parts["predictor."].items()}
        ours[_TABLE] = model.predictor.state_dict()[_TABLE]
        _fill(model.predictor, ours, f"The predictor in {path}")
    return model


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _renamed(name: str) -> str:
    return name if name == "mask_token" else f"predictor_{name}"


def _fill(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{what} does not fit: {error}") from error


def _build(
    encoder: Mapping[str, Tensor],
    predictor: Mapping[str, Tensor],
    length: int,
    encoder_heads: int | None,
    predictor_heads: int | None,
    options: dict[str, Any],
) -> ECGJEPA:
    dim, channels, patch = encoder["patch_embed.proj.weight"].shape
    name = next((name for name, variant in VARIANTS.items() if variant.dim == dim), None)
    if name is None and encoder_heads is None:
        raise ValueError(
            f"No released variant is {dim} wide, so its number of heads is unknown: give encoder_heads."
        )
    registers = encoder["registers"].shape[1] if "registers" in encoder else 0
    sizes: dict[str, Any] = {}
    if predictor:
        sizes = {"predictor_dim": predictor["embed.weight"].shape[0], "predictor_depth": _depth(predictor)}
        if name is None and predictor_heads is None:
            raise ValueError(
                f"The heads of the predictor of an encoder {dim} wide are unknown: give predictor_heads."
            )
    return ECGJEPA(
        name or "vit_xs",  # type: ignore[arg-type]  # a key of VARIANTS
        length,
        patch,
        channels,
        encoder_dim=dim,
        encoder_depth=_depth(encoder),
        encoder_heads=encoder_heads,
        predictor_heads=predictor_heads,
        registers=registers,
        **sizes,
        **options,
    )


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in state if name.startswith("blocks.")})


def to_official_ecg(model: ECGJEPA, path: str | Path, *, step: int = 0) -> None:
    """Write a file with the names of the official code, without an optimiser's state.

    Args:
        model: The system.
        path: Where to write.
        step: Finished optimiser steps, for the record.
    """
    state = {f"encoder.{name}": tensor for name, tensor in model.encoder.state_dict().items()}
    state |= {_TEACHER + name: tensor for name, tensor in model.teacher.state_dict().items()}
    state |= {
        f"predictor.{name.removeprefix('predictor_')}": tensor
        for name, tensor in model.predictor.state_dict().items()
        if name != _TABLE
    }
    plain = {name: tensor.detach().cpu() for name, tensor in state.items()}
    torch.save({"model": plain, "config": {}, "step": step}, path)

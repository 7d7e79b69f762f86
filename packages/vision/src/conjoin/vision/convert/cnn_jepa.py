# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the released CNN-JEPA code, in both directions.

It writes Lightning checkpoints whose ``state_dict`` has the context network twice (``backbone.``,
``backbone_sparse.``: one object under two names), the teacher twice (``backbone_momentum.``,
``backbone_for_online_eval.``), ``mask_token`` and ``predictor.N.``. The networks are timm's ResNets, name for
name, so conversion is renaming. Its ConvNeXts come from another code base and are not read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from conjoin.core import checkpoint
from conjoin.core.checkpoint import CheckpointError
from conjoin.core.checkpoint_io import replacing
from conjoin.vision.encoders.sparse_cnn import SparseCNN
from conjoin.vision.methods.cnn_jepa import CNNJEPA
from conjoin.vision.predictor import SeparablePredictor

__all__ = ("from_official_cnn_jepa", "to_official_cnn_jepa")

_STUDENT = ("backbone.", "backbone_sparse.")
_TEACHER = ("backbone_momentum.", "backbone_for_online_eval.")
_NETWORKS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200", "wide_resnet50_2",
    "wide_resnet101_2",
)  # fmt: skip


def from_official_cnn_jepa(
    path: str | Path, *, encoder: str | None = None, image_size: int = 224, **options: Any
) -> CNNJEPA:
    """Load a checkpoint of the released code.

    Args:
        path: The file.
        encoder: timm's name of the network; found by the tensors' names and shapes if not given.
        image_size: Pixels per side, which no tensor shows.
        **options: Further arguments of ``CNNJEPA`` (``optim``, ``masks``, ``seed`` ...).

    Returns:
        The system, with context network, predictor and teacher from the file. The optimiser's moments are
        not taken over.

    Raises:
        CheckpointError: If the file is missing, unsafe, or not such a checkpoint.
    """
    content = checkpoint.load(path)
    state = content.get("state_dict")
    state = state if isinstance(state, Mapping) else {}
    student, teacher = _part(state, _STUDENT), _part(state, _TEACHER)
    predictor = _part(state, ("predictor.",))
    for part, present in (
        ("backbone", student),
        ("backbone_momentum", teacher),
        ("predictor", predictor),
        ("mask_token", "mask_token" in state),
    ):
        if not present:
            raise CheckpointError(
                f"{path} has no {part!r} in its state dict, so it is no checkpoint of the released CNN-JEPA."
            )
    name = encoder or _network(student)
    if name is None:
        raise CheckpointError(
            f"The network in {path} is none of {', '.join(_NETWORKS)}: give encoder, timm's name of it."
        )
    model = CNNJEPA(
        name,
        image_size,
        _inlet(student),
        predictor_depth=sum(t.ndim == 4 for t in predictor.values()) // 2,
        predictor_kernel=max(t.shape[-1] for t in predictor.values() if t.ndim == 4),
        **options,
    )
    layers = {f"layers.{key}": tensor for key, tensor in predictor.items()}
    for what, module, tensors in (
        ("backbone", model.encoder.model, student),
        ("backbone_momentum", _teacher(model).model, teacher),
        ("predictor", _predictor(model), {"mask_token": state["mask_token"], **layers}),
    ):
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"The {what} in {path} does not fit: {error}") from error
    return model


def to_official_cnn_jepa(model: CNNJEPA, path: str | Path, *, epoch: int = 0) -> None:
    """Write the weights under the released code's names.

    Args:
        model: The system; its encoder must be a ResNet.
        path: Where to write, e.g. ``last.ckpt``.
        epoch: For the record.

    Raises:
        ValueError: If the encoder is no ResNet.
    """
    if not hasattr(model.encoder.model, "layer1"):
        raise ValueError(
            f"Only CNN-JEPA with a ResNet has a released form, not with {type(model.encoder.model).__name__}."
        )
    state: dict[str, Tensor] = {}
    for prefixes, module in ((_STUDENT, model.encoder.model), (_TEACHER, _teacher(model).model)):
        for prefix in prefixes:
            state |= _prefixed(prefix, module)
    predictor = _predictor(model)
    state["mask_token"] = predictor.mask_token.detach().cpu()
    state |= _prefixed("predictor.", predictor.layers)
    with replacing(Path(path)) as temporary:
        torch.save({"epoch": epoch, "global_step": 0, "state_dict": state}, temporary)


def _teacher(model: CNNJEPA) -> SparseCNN:
    return cast(SparseCNN, model.teacher)


def _predictor(model: CNNJEPA) -> SeparablePredictor:
    return cast(SeparablePredictor, model.predictor)


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}


def _part(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors under the first of the prefixes that has any, without a classifier's."""
    for prefix in prefixes:
        found = {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
        if found:
            return {name: t for name, t in found.items() if not name.startswith("fc.")}
    return {}


def _inlet(state: Mapping[str, Tensor]) -> int:
    """Channels of the image: those of the first convolution."""
    return int(next(t for t in state.values() if t.ndim == 4).shape[1])


def _network(state: Mapping[str, Tensor]) -> str | None:
    """Timm's name of the network with these tensors."""
    shapes = {name: tensor.shape for name, tensor in state.items()}
    for name in _NETWORKS:
        with torch.device("meta"):
            network = timm.create_model(name, num_classes=0, in_chans=_inlet(state))
        if {key: tensor.shape for key, tensor in network.state_dict().items()} == shapes:
            return name
    return None

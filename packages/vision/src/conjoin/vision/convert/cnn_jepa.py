# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the released CNN-JEPA code, in both directions.

It writes Lightning checkpoints whose ``state_dict`` has the context network twice (``backbone.``,
``backbone_sparse.``: one object under two names), the teacher twice (``backbone_momentum.``,
``backbone_for_online_eval.``), ``mask_token`` and ``predictor.N.``. Its ResNets are timm's, name for name;
its ConvNeXts are SparK's, under the names of ConvNeXt's authors. So conversion is renaming.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models.convnext import ConvNeXt
from torch import Tensor

from conjoin.core import checkpoint
from conjoin.core.checkpoint import CheckpointError
from conjoin.core.checkpoint_io import replacing
from conjoin.vision.convert.convnext import from_authors, is_authors, to_authors
from conjoin.vision.encoders.sparse_cnn import SparseCNN
from conjoin.vision.methods.cnn_jepa import CNNJEPA
from conjoin.vision.predictor import SeparablePredictor

__all__ = ("from_official_cnn_jepa", "to_official_cnn_jepa")

_STUDENT = ("backbone.", "backbone_sparse.")
_TEACHER = ("backbone_momentum.", "backbone_for_online_eval.")
_NETWORKS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200", "wide_resnet50_2",
    "wide_resnet101_2", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
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
    try:
        student, teacher = (_network_of(state, prefixes) for prefixes in (_STUDENT, _TEACHER))
    except ValueError as error:
        raise CheckpointError(f"The ConvNeXt in {path} cannot be read: {error}.") from error
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
        model: The system; its encoder must be a ResNet or a plain ConvNeXt.
        path: Where to write, e.g. ``last.ckpt``.
        epoch: For the record.

    Raises:
        ValueError: If the encoder is a ConvNeXt that its authors' code does not have.
    """
    state: dict[str, Tensor] = {}
    for prefixes, module in ((_STUDENT, model.encoder.model), (_TEACHER, _teacher(model).model)):
        tensors = module.state_dict()
        if isinstance(module, ConvNeXt):
            try:
                tensors = to_authors(tensors)
            except ValueError as error:
                raise ValueError(f"This encoder has no released form: {error}.") from error
        for prefix in prefixes:
            state |= _prefixed(prefix, tensors)
    predictor = _predictor(model)
    state["mask_token"] = predictor.mask_token.detach().cpu()
    state |= _prefixed("predictor.", predictor.layers.state_dict())
    with replacing(Path(path)) as temporary:
        torch.save({"epoch": epoch, "global_step": 0, "state_dict": state}, temporary)


def _teacher(model: CNNJEPA) -> SparseCNN:
    return cast(SparseCNN, model.teacher)


def _predictor(model: CNNJEPA) -> SeparablePredictor:
    return cast(SeparablePredictor, model.predictor)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor.detach().cpu() for name, tensor in tensors.items()}


def _network_of(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """A network's tensors under timm's names."""
    found = _part(state, prefixes)
    if not is_authors(found):
        return found
    # Its final norm is that of a classifier.
    return from_authors({name: tensor for name, tensor in found.items() if not name.startswith("norm.")})


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
        expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
        if {key: shape for key, shape in expected.items() if not key.startswith("head.")} == shapes:
            return name
    return None

# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the official I-JEPA release, in both directions.

A released file is a dictionary with the state dicts ``encoder``, ``predictor`` and ``target_encoder`` (names
prefixed by ``module.``), the optimiser's ``opt``, and ``scaler, epoch, loss, batch_size, world_size, lr``.
Parameter names and shapes are the ones used here, so conversion is renaming; sizes are read off the shapes.
Nothing in the file is
executed: it is opened with ``weights_only=True``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import checkpoint
from conjoin.core.checkpoint import CheckpointError
from conjoin.vision.encoders.vit import VARIANTS
from conjoin.vision.methods.ijepa import IJEPA

__all__ = ("from_official", "to_official")

_PREFIX = "module."


@dataclass(frozen=True)
class _Sizes:
    """What the shapes of an encoder's and a predictor's tensors say."""

    encoder: str
    dim: int
    depth: int
    heads: int
    image_size: int
    patch_size: int
    in_channels: int
    predictor_dim: int
    predictor_depth: int


def from_official(path: str | Path, *, encoder_heads: int | None = None, **options: Any) -> IJEPA:
    """Load an official ``.pth.tar`` file.

    Args:
        path: The file.
        encoder_heads: Attention heads of encoder and predictor, which no tensor shows; None for those of the
            released variant of the same width.
        **options: Further arguments of ``IJEPA`` (``optim``, ``masks``, ``seed`` ...).

    Returns:
        The system, with context encoder, predictor and teacher from the file. The optimiser's moments are
        not taken over.

    Raises:
        CheckpointError: If the file is missing, unsafe, or not an I-JEPA checkpoint.
        ValueError: If the number of heads cannot be known.
    """
    content = checkpoint.load(path)
    states = {}
    for part in ("encoder", "predictor", "target_encoder"):
        state = content.get(part)
        if not isinstance(state, Mapping) or not state:
            raise CheckpointError(
                f"{path} has no {part!r} state dict, so it is not a checkpoint of the official I-JEPA; "
                f"its keys are {', '.join(sorted(map(str, content)))}."
            )
        states[part] = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    try:
        sizes = _read_sizes(states["encoder"], states["predictor"], encoder_heads)
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the tensor {error} of an I-JEPA vision transformer.") from error
    model = IJEPA(
        sizes.encoder,
        sizes.image_size,
        sizes.patch_size,
        sizes.in_channels,
        encoder_dim=sizes.dim,
        encoder_depth=sizes.depth,
        encoder_heads=sizes.heads,
        predictor_dim=sizes.predictor_dim,
        predictor_depth=sizes.predictor_depth,
        **options,
    )
    modules = {"encoder": model.encoder, "predictor": model.predictor, "target_encoder": model.teacher}
    for part, module in modules.items():
        try:
            module.load_state_dict(states[part])
        except RuntimeError as error:
            raise CheckpointError(f"The {part} in {path} does not fit: {error}") from error
    return model


def _read_sizes(encoder: Mapping[str, Tensor], predictor: Mapping[str, Tensor], heads: int | None) -> _Sizes:
    dim, in_channels, patch, _ = encoder["patch_embed.proj.weight"].shape
    depth = _count(encoder, "blocks.")
    hidden = encoder["blocks.0.mlp.fc1.weight"].shape[0]
    side = round(encoder["pos_embed"].shape[1] ** 0.5)
    name = next((name for name, variant in VARIANTS.items() if variant.dim == dim), None)
    if heads is None and name is None:
        raise ValueError(
            f"No released variant is {dim} wide, so the number of heads is unknown: give encoder_heads."
        )
    # A width of its own borrows a variant with the same MLP ratio; only that is taken from it.
    name = name or next((n for n, v in VARIANTS.items() if int(dim * v.mlp_ratio) == hidden), "vit_small")
    return _Sizes(
        encoder=name,
        dim=dim,
        depth=depth,
        heads=heads or VARIANTS[name].heads,
        image_size=side * patch,
        patch_size=patch,
        in_channels=in_channels,
        predictor_dim=predictor["predictor_embed.weight"].shape[0],
        predictor_depth=_count(predictor, "predictor_blocks."),
    )


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def to_official(
    model: IJEPA, path: str | Path, *, epoch: int = 0, batch_size: int = 0, world_size: int = 1
) -> None:
    """Write a file that the official code, timm and Hugging Face's converter read.

    Args:
        model: The system; its encoder must be a ``ViT``.
        path: Where to write, e.g. ``run-latest.pth.tar``.
        epoch: Finished epochs, from which the official code would go on.
        batch_size: For the record.
        world_size: For the record.
    """
    if not hasattr(model.encoder, "patch_embed"):
        raise ValueError(
            f"Only I-JEPA with a conjoin ViT has an official form, not {type(model.encoder).__name__}."
        )
    parts = {"encoder": model.encoder, "predictor": model.predictor, "target_encoder": model.teacher}
    content: dict[str, Any] = {part: _prefixed(module) for part, module in parts.items()}
    content |= {
        "opt": _fresh_adamw(content["encoder"], content["predictor"], model.optim.lr),
        "scaler": None,
        "epoch": epoch,
        "loss": 0.0,
        "batch_size": batch_size,
        "world_size": world_size,
        "lr": model.optim.lr,
    }
    torch.save(content, path)


def _prefixed(module: nn.Module) -> dict[str, Tensor]:
    return {_PREFIX + name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}


def _fresh_adamw(encoder: dict[str, Tensor], predictor: dict[str, Tensor], lr: float) -> dict[str, Any]:
    """State of the official AdamW before its first step: both modules with decay, then without."""

    def group(state: dict[str, Tensor], decays: bool) -> list[nn.Parameter]:
        chosen = [
            tensor for name, tensor in state.items() if ("bias" not in name and tensor.ndim != 1) == decays
        ]
        return [nn.Parameter(torch.empty(0)) for _ in chosen]

    groups: list[dict[str, Any]] = [{"params": group(state, True)} for state in (encoder, predictor)]
    for state in (encoder, predictor):
        groups.append({"params": group(state, False), "WD_exclude": True, "weight_decay": 0})
    return torch.optim.AdamW(groups, lr=lr).state_dict()

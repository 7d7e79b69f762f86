# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the official Point-JEPA release, in both directions.

A released file is a Lightning checkpoint whose ``state_dict`` has ``tokenizer.embedding.encoder.*`` (1x1
convolutions, here linear layers), ``positional_encoding.*``, ``student.*`` (blocks and norm),
``predictor.*`` and ``teacher.{online_model,ema_model}.*``. Conversion is renaming, and a squeeze of the
convolutions; sizes are read off the shapes. The optimiser's moments, the second copy of the student, the
teacher's counters and the parameters that no forward pass uses are left behind. Nothing in the file is
executed: it is opened with ``weights_only=True``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conjoin.core import checkpoint
from conjoin.core.checkpoint import CheckpointError
from conjoin.pointcloud.methods.point_jepa import PointJEPA

__all__ = ("from_official", "to_official")

# Official prefix, ours; the first that fits counts.
_PREFIXES = (
    ("tokenizer.embedding.encoder.", "encoder.tokenizer."),
    ("positional_encoding.", "encoder.positions."),
    ("student.", "encoder.transformer."),
    ("teacher.ema_model.", "teacher."),
    ("predictor.positional_encoding.", "predictor.positions."),
    ("predictor.predictor.blocks.", "predictor.blocks."),
    ("predictor.predictor.norm.", "predictor.norm."),
    ("predictor.predictor_embed.", "predictor.predictor_embed."),
    ("predictor.predictor_proj.", "predictor.predictor_proj."),
    ("predictor.mask_token", "predictor.mask_token"),
)
_UNUSED = (
    "mask_token",
    "teacher.online_model.",
    "teacher.initted",
    "teacher.step",
    "predictor.predictor_norm.",
)
_CONVOLUTIONS = tuple(
    f"encoder.tokenizer.{part}_conv.{place}.weight" for part in ("first", "second") for place in (0, 3)
)


def from_official(
    path: str | Path, *, encoder_heads: int = 6, predictor_heads: int = 6, **options: Any
) -> PointJEPA:
    """Load an official ``.ckpt`` file.

    Args:
        path: The file.
        encoder_heads: Attention heads of the encoder, which no tensor shows.
        predictor_heads: Attention heads of the predictor.
        **options: Further arguments of ``PointJEPA`` (``groups``, ``group_size``, ``masks`` ...), which no
            tensor shows either.

    Raises:
        CheckpointError: If the file is missing, unsafe, or not a Point-JEPA checkpoint.
    """
    content = checkpoint.load(path)
    found = content.get("state_dict")
    if not isinstance(found, Mapping) or not any(name.startswith("student.") for name in found):
        raise CheckpointError(
            f"{path} has no state_dict with a student, so it is not a checkpoint of the official Point-JEPA."
        )
    state = _renamed(found, path)
    try:
        sizes: dict[str, Any] = {
            "widths": tuple(
                len(state[f"encoder.tokenizer.{name}.weight"])
                for name in ("first_conv.0", "first_conv.3", "second_conv.0")
            ),
            "encoder_dim": len(state["encoder.transformer.norm.weight"]),
            "encoder_depth": _count(state, "encoder.transformer.blocks."),
            "predictor_dim": len(state["predictor.norm.weight"]),
            "predictor_depth": _count(state, "predictor.blocks."),
        }
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the tensor {error} of a Point-JEPA.") from error
    model = PointJEPA(encoder_heads=encoder_heads, predictor_heads=predictor_heads, **sizes, **options)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit: {error}") from error
    return model


def _renamed(found: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, tensor in found.items():
        prefix = next((pair for pair in _PREFIXES if name.startswith(pair[0])), None)
        if prefix is not None:
            ours = prefix[1] + name.removeprefix(prefix[0])
            state[ours] = tensor.squeeze(-1) if ours in _CONVOLUTIONS else tensor
        elif not name.startswith(_UNUSED):
            raise CheckpointError(f"{path} has the tensor {name!r}, which no Point-JEPA has.")
    return state


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def to_official(model: PointJEPA, path: str | Path) -> None:
    """Write a file that the official code's fine-tuning reads.

    Args:
        model: The system.
        path: Where to write.
    """
    state: dict[str, Tensor] = {"mask_token": torch.zeros(model.encoder.embed_dim)}
    for name, tensor in model.state_dict().items():
        theirs, ours = next(pair for pair in _PREFIXES if name.startswith(pair[1]))
        tensor = tensor.detach().cpu()
        state[theirs + name.removeprefix(ours)] = tensor.unsqueeze(-1) if name in _CONVOLUTIONS else tensor
        if ours == "encoder.transformer.":
            state["teacher.online_model." + name.removeprefix(ours)] = tensor
    dim = model.encoder.embed_dim
    state |= {
        "predictor.predictor_norm.weight": torch.ones(dim),
        "predictor.predictor_norm.bias": torch.zeros(dim),
    }
    state |= {"teacher.initted": torch.tensor([True]), "teacher.step": torch.tensor([0])}
    torch.save(
        {"state_dict": state, "epoch": 0, "global_step": 0, "pytorch-lightning_version": "1.9.5"}, path
    )

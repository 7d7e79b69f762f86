# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of T-JEPA's released code, in both directions.

A file has the state dicts ``context_encoder``, ``target_encoder`` and ``predictor`` beside the optimiser's
and the schedules' states and ``epoch``. Sizes are read off the shapes. Each transformer there also stores the
layer that its blocks were copied from (``transformer_layers``) and the predictor a norm that is never called:
they count as parameters in published figures (440,064 and 166,880 for Jannis) and do nothing, so they are
dropped here and written again there. Position tables are fixed functions and are made anew. Files are opened
with ``weights_only=True``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import checkpoint
from conjoin.core.checkpoint import CheckpointError
from conjoin.core.nn import sincos_positions
from conjoin.tabular.encoders import RowEncoder, column_positions
from conjoin.tabular.methods.tjepa import TJEPA

__all__ = ("from_official", "official_states", "to_official")

_LAYER = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj": "proj",
    "linear1": "fc1",
    "linear2": "fc2",
    "norm1": "norm1",
    "norm2": "norm2",
}
_TAIL = {"layernorm1": "norm", "fc": "fc", "layernorm2": "out_norm"}
_PREDICTOR = {
    "mask_token": "mask_token",
    "predictor_emb": "predictor_embed",
    "predictor_norm": "predictor_norm",
    "predictor_proj": "predictor_proj",
}
_PE_ROWS = 5000
_UNUSED = re.compile(r"(^|\.)transformer_layers\.|^layer_norm\.|^pe\.pe$|^predictor_pos_embed$")


def _swap(name: str, table: Mapping[str, str]) -> str | None:
    """``name`` with its first part replaced by the table, None if the table does not know it."""
    for old, new in table.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return None


def _transformer_name(name: str) -> str | None:
    """Official to own names inside a transformer."""
    if found := re.fullmatch(r"transformer\.layers\.(\d+)\.(.+)", name):
        inner = _swap(found[2], _LAYER)
        return inner and f"blocks.{found[1]}.{inner}"
    return _swap(name, _TAIL)


def _encoder_state(state: Mapping[str, Tensor], columns: int) -> dict[str, Tensor]:
    """Official to own tensors of an encoder with ``columns`` columns."""
    found: dict[str, Tensor] = {}
    categories = sorted(
        (name for name in state if name.startswith("tokenizer.category_embeddings.")),
        key=lambda name: int(name.split(".")[2]),
    )
    weight = state["tokenizer.weight"]
    extra = len(weight) - (columns - len(categories))
    if extra:
        found["tokenizer.register"] = weight[:extra]
    if len(weight) > extra:
        found["tokenizer.weight"] = weight[extra:]
    found["tokenizer.bias"] = state["tokenizer.bias"]
    if categories:
        found["tokenizer.embedding"] = torch.cat([state[name] for name in categories])
    for name, tensor in state.items():
        if name == "feature_type_embedding.weight":
            found["tokenizer.types"] = tensor
        elif name.startswith("encoder.") and not _UNUSED.search(name):
            own = _transformer_name(name.removeprefix("encoder."))
            found[f"transformer.{own}" if own else name] = tensor
        elif not name.startswith(("tokenizer.", "pe.")) and not _UNUSED.search(name):
            found[name] = tensor  # refused by load_state_dict, which names it
    found["pos_embed"] = column_positions(columns + extra, weight.shape[1]).unsqueeze(0)
    return found


def _predictor_state(state: Mapping[str, Tensor], tokens: int) -> dict[str, Tensor]:
    """Official to own tensors of a predictor."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _UNUSED.search(name):
            continue
        inner = _transformer_name(name.removeprefix("transformer."))
        own = f"transformer.{inner}" if name.startswith("transformer.") and inner else _swap(name, _PREDICTOR)
        found[own or name] = tensor
    width = found["mask_token"].shape[-1]
    found["predictor_pos_embed"] = sincos_positions((tokens,), width).unsqueeze(0)
    return found


def from_official(path: str | Path, *, heads: int = 2, predictor_heads: int = 4, **options: Any) -> TJEPA:
    """Load a checkpoint of the released code.

    Args:
        path: The file.
        heads: Attention heads of the encoder, which no tensor shows; 2 as published.
        predictor_heads: Those of the predictor; 4 as published.
        **options: Further arguments of ``TJEPA``; ``register`` is ``"as_column"`` if not given, as the
            weights were trained.

    Returns:
        The system, with encoder, predictor and teacher from the file. The optimiser's moments are not taken
        over.

    Raises:
        CheckpointError: If the file is missing, unsafe, or not a T-JEPA checkpoint.
        ValueError: If the heads do not divide the widths.
    """
    content = checkpoint.load(path)
    states: dict[str, dict[str, Tensor]] = {}
    for part in ("context_encoder", "target_encoder", "predictor"):
        state = content.get(part)
        if not isinstance(state, Mapping) or not state:
            raise CheckpointError(
                f"{path} has no {part!r} state dict, so it is not a checkpoint of T-JEPA; its keys are "
                f"{', '.join(sorted(map(str, content)))}."
            )
        states[part] = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    try:
        sizes, columns = _sizes(states["context_encoder"], states["predictor"])
        tokens = columns + (sizes["register"] != "off")
        converted = {
            "encoder": _encoder_state(states["context_encoder"], columns),
            "teacher": _encoder_state(states["target_encoder"], columns),
            "predictor": _predictor_state(states["predictor"], tokens),
        }
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the tensor {error} of a T-JEPA transformer.") from error
    model = TJEPA(**(sizes | {"heads": heads, "predictor_heads": predictor_heads} | options))
    for part, tensors in converted.items():
        try:
            model.get_submodule(part).load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"The {part} in {path} does not fit: {error}") from error
    return model


def _sizes(encoder: Mapping[str, Tensor], predictor: Mapping[str, Tensor]) -> tuple[dict[str, Any], int]:
    """Arguments of ``TJEPA`` that the shapes show, and the number of columns."""
    weight, bias = encoder["tokenizer.weight"], encoder["tokenizer.bias"]
    names = [name for name in encoder if name.startswith("tokenizer.category_embeddings.")]
    names.sort(key=lambda name: int(name.split(".")[2]))
    categories = tuple(len(encoder[name]) for name in names)
    numeric = len(bias) - len(categories)
    if len(weight) - numeric not in (0, 1):
        raise CheckpointError(
            f"The tokenizer has {len(weight)} vectors for {numeric} numeric columns: one [REG] token or none "
            "is known."
        )
    layer = "transformer.layers.0.linear1.weight"
    return {
        "numeric": numeric,
        "categories": categories,
        "dim": weight.shape[1],
        "depth": _count(encoder, "encoder.transformer.layers."),
        "hidden": encoder[f"encoder.{layer}"].shape[0],
        "predictor_dim": predictor["mask_token"].shape[-1],
        "predictor_depth": _count(predictor, "transformer.transformer.layers."),
        "predictor_hidden": predictor[f"transformer.{layer}"].shape[0],
        "register": "as_column" if len(weight) > numeric else "off",
        "type_embedding": "feature_type_embedding.weight" in encoder,
    }, len(bias)


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def _official_transformer(module: nn.Module) -> dict[str, Tensor]:
    """A transformer's tensors under official names, with the layer that blocks are copied from."""
    found: dict[str, Tensor] = {}
    layer, tail = ({own: name for name, own in table.items()} for table in (_LAYER, _TAIL))
    for name, tensor in module.state_dict().items():
        tensor = tensor.detach().cpu()
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
            inner = _swap(match[2], layer)
            found[f"transformer.layers.{match[1]}.{inner}"] = tensor
            if match[1] == "0":
                found[f"transformer_layers.{inner}"] = tensor.clone()
        else:
            found[str(_swap(name, tail))] = tensor
    return found


def _official_encoder(encoder: RowEncoder) -> dict[str, Tensor]:
    tokenizer = encoder.tokenizer
    if tokenizer.missing is not None:
        raise ValueError(
            "Vectors for missing numbers have no official form: only models without `missing` can be written."
        )
    vectors = [part.detach().cpu() for part in (tokenizer.register, tokenizer.weight) if part is not None]
    found = {
        "tokenizer.weight": torch.cat(vectors) if vectors else torch.empty(0, encoder.embed_dim),
        "tokenizer.bias": tokenizer.bias.detach().cpu(),
        "pe.pe": column_positions(_PE_ROWS, encoder.embed_dim),
    }
    if tokenizer.embedding is not None:
        tables = tokenizer.embedding.detach().cpu().split(list(tokenizer.categories))  # type: ignore[no-untyped-call]
        found |= {
            f"tokenizer.category_embeddings.{n}.weight": table.clone() for n, table in enumerate(tables)
        }
    if tokenizer.types is not None:
        found["feature_type_embedding.weight"] = tokenizer.types.detach().cpu()
    inner = _official_transformer(encoder.transformer)
    return found | {f"encoder.{name}": tensor for name, tensor in inner.items()}


def official_states(model: TJEPA) -> dict[str, dict[str, Tensor]]:
    """State dicts as the released code has them: ``context_encoder``, ``target_encoder``, ``predictor``.

    Raises:
        ValueError: If the model has vectors for missing numbers.
    """
    predictor = model.predictor
    state = {name: tensor.detach().cpu() for name, tensor in predictor.state_dict().items()}
    width = state["mask_token"].shape[-1]
    own = {name: official for official, name in _PREDICTOR.items()}
    outer = {
        str(_swap(name, own)): tensor
        for name, tensor in state.items()
        if not name.startswith("transformer.") and name != "predictor_pos_embed"
    }
    inner = _official_transformer(predictor.get_submodule("transformer"))
    outer |= {f"transformer.{name}": tensor for name, tensor in inner.items()}
    # The release has one position less: its masks never reach the last column.
    outer["predictor_pos_embed"] = sincos_positions(model.grid, width).unsqueeze(0)
    outer |= {"layer_norm.weight": torch.ones(width), "layer_norm.bias": torch.zeros(width)}
    encoder, teacher = model.get_submodule("encoder"), model.get_submodule("teacher")
    assert isinstance(encoder, RowEncoder)
    assert isinstance(teacher, RowEncoder)
    return {
        "context_encoder": _official_encoder(encoder),
        "target_encoder": _official_encoder(teacher),
        "predictor": outer,
    }


def to_official(model: TJEPA, path: str | Path, *, epoch: int = 0) -> None:
    """Write a file with the layout of the released code; states of optimiser and schedules are empty.

    Args:
        model: The system.
        path: Where to write.
        epoch: Finished epochs, for the record.

    Raises:
        ValueError: If the model has vectors for missing numbers.
    """
    empty = dict.fromkeys(("optimizer", "scaler", "scheduler", "weightdecay"))
    torch.save({"epoch": epoch, **official_states(model), **empty, "train_loss": 0.0}, path)

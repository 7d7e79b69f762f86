# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that describe themselves, and that are safe to open.

``checkpoint["conjoin"] = {"version", "class_path", "init_args"}`` of plain values stands beside
Lightning's own keys, so a file alone is enough to have the model again: :func:`load_model`, or
``IJEPA.load_from_checkpoint(path)``. Files are read with ``weights_only=True``: a pickle that wants to
run code is refused, and the classes that a description may name are limited
(:func:`conjoin.core.spec.resolve`).
"""

import copy
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.checkpoint_io import CheckpointError, first_line, load, replacing
from conjoin.core.spec import (
    SelfDescribing,
    SpecError,
    build,
    class_path,
    construct,
    describe,
    plain,
    record,
    resolve,
)

if TYPE_CHECKING:
    from conjoin.core.methods import JointEmbedding

__all__ = (
    "CheckpointError",
    "Checkpointed",
    "SelfDescribing",
    "SpecError",
    "build",
    "describe",
    "fresh",
    "load",
    "load_model",
    "load_safetensors",
    "record",
    "save_safetensors",
    "self_description",
)

KEY = "conjoin"


class Checkpointed(SelfDescribing, LightningModule):
    """A LightningModule whose checkpoints are enough to rebuild it.

    The base of every system. A subclass that overrides ``on_save_checkpoint`` calls ``super()``.
    """

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description to the checkpoint."""
        checkpoint[KEY] = self_description(self)
        super().on_save_checkpoint(checkpoint)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's is a restricted_classmethod
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = "cpu",
        hparams_file: None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Rebuild the system from a file alone.

        Args:
            checkpoint_path: A file written by a Trainer.
            map_location: Where the weights go, as in ``torch.load``.
            hparams_file: Not used; here because Lightning's method has it.
            strict: Whether the parameter names must match exactly; None asks the module.
            weights_only: False trusts the file: it may then run any code.
            **kwargs: Arguments that replace those in the file; ready modules for a generic base.

        Raises:
            CheckpointError: If the file is missing, damaged, not trusted or of another class.
        """
        trust = weights_only is False
        checkpoint = load(checkpoint_path, map_location=map_location, trust=trust)
        model = _rebuild(
            checkpoint, str(checkpoint_path), trust=trust, expected=cls, replace=kwargs, strict=strict
        )
        return cast(Self, model)


def self_description(model: nn.Module) -> dict[str, Any]:
    """What goes into ``checkpoint["conjoin"]``: version, class path and arguments, or why there are none."""
    info: dict[str, Any] = {
        "version": importlib.metadata.version("conjoin"),
        "class_path": class_path(type(model)),
    }
    try:
        info |= describe(model)
    except SpecError as error:
        return info | {"init_args": None, "problem": str(error)}
    seed = getattr(model, "seed", None)
    if info["init_args"].get("seed", 0) is None and isinstance(seed, int):
        info["init_args"]["seed"] = seed  # the run's seed, which another process would not know
    return info


def _rebuild(
    checkpoint: dict[str, Any],
    name: str,
    *,
    trust: bool,
    expected: type,
    replace: dict[str, Any] | None = None,
    strict: bool | None = None,
) -> LightningModule:
    """Build the described system, fill in its weights and give it its say in ``on_load_checkpoint``."""
    info = checkpoint.get(KEY)
    if not isinstance(info, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(
            f"{name} has no description of its model, so it was not written by conjoin; "
            "`conjoin convert --from official` reads the official releases"
        )
    try:
        # A class defined in a script or a function has no path to import, but the caller holds it.
        cls = (
            expected
            if info["class_path"] == class_path(expected)
            else resolve(info["class_path"], trust=trust)
        )
        if not issubclass(cls, expected):
            raise CheckpointError(f"{name} holds a {cls.__name__}, which is not a {expected.__name__}")
        arguments = dict(info["init_args"] or {}) | (replace or {})
        if info["init_args"] is None and not replace:
            raise CheckpointError(
                f"{name} cannot rebuild its model alone: {info.get('problem')}; "
                f"use {cls.__name__}.load_from_checkpoint(path, ...) with the ready modules as keywords"
            )
        with random.seeded(0):
            model = cast(LightningModule, construct(cls, arguments, trust=trust))
    except SpecError as error:
        raise CheckpointError(f"{name}: {error}") from error
    model.on_load_checkpoint(checkpoint)
    try:
        model.load_state_dict(
            checkpoint["state_dict"], strict=model.strict_loading if strict is None else strict
        )
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {name} do not fit {cls.__name__}: {_summary(error)}"
        ) from error
    return model


def _summary(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[1:3]) if len(lines) > 1 else lines[0]


def load_model(path: str | Path, *, trust: bool = False) -> "JointEmbedding":
    """Rebuild the system in a checkpoint, in evaluation mode, on the CPU.

    Args:
        path: A file written by a Trainer, by itself: neither configuration nor code of the run is needed.
        trust: Also open pickles and import packages that the file names. Only for files of your own.

    Raises:
        CheckpointError: If the file is missing, damaged, not trusted or not of conjoin.
    """
    model = _rebuild(load(path, trust=trust), str(path), trust=trust, expected=LightningModule)
    return cast("JointEmbedding", model.eval())


def fresh(model: Any, *, seed: int = 0) -> Any:
    """The same system with new random weights: the baseline that a trained encoder has to beat.

    A function of the system and ``seed`` alone: the global generators are left as they were.

    Args:
        model: A system. If it was built from ready modules it is copied and every layer's
            ``reset_parameters()`` is called, inner layers first.
        seed: Which weights. A system with a ``seed`` argument gets it as well.

    Returns:
        A new system in evaluation mode on the CPU.

    Raises:
        SpecError: If the system cannot be rebuilt and some layer cannot be reset.
    """
    with random.seeded(random.key(seed, "fresh")):
        try:
            spec = describe(model)
        except SpecError:
            return _reset_copy(model).eval()
        if "seed" in spec["init_args"]:
            spec["init_args"]["seed"] = seed
        return build(spec, trust=True).eval()


def _reset_copy(model: nn.Module) -> nn.Module:
    new = copy.deepcopy(model).cpu()
    stubborn = []
    for name, module in reversed(list(new.named_modules())):
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            stubborn.append(name or type(module).__name__)
    if stubborn:
        raise SpecError(f"{type(model).__name__} cannot get new weights: no reset_parameters() in {stubborn}")
    return new


def _part(model: nn.Module, part: str) -> nn.Module:
    found = model if part == "model" else getattr(model, part, None)
    if not isinstance(found, nn.Module):
        choices = ["model", "representation", *(name for name, _ in model.named_children())]
        raise ValueError(f"{type(model).__name__} has no part {part!r}; choose from {', '.join(choices)}")
    return found


def _unshared(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Contiguous tensors of which no two share memory, as the format demands."""
    seen: set[int] = set()
    for name, value in state.items():
        start = value.untyped_storage().data_ptr()
        tensor = value.detach().clone() if start in seen else value.detach().contiguous()
        seen.add(start)
        yield name, tensor


def save_safetensors(model: nn.Module, path: str | Path, part: str = "representation") -> None:
    """Write weights as a safetensors file whose metadata holds the description as JSON.

    Args:
        model: A system.
        path: The file; written under a temporary name first, so an older one survives a failure.
        part: ``"representation"`` (the frozen encoder), ``"model"``, or the name of a child module.

    Raises:
        ValueError: If there is no such part.
        CheckpointError: If the file cannot be written.
    """
    from safetensors.torch import save_file

    tensors = dict(_unshared(_part(model, part).state_dict()))
    info = self_description(model) | {"part": part}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"format": "pt", KEY: json.dumps(info)})


def load_safetensors(path: str | Path, into: nn.Module | None = None) -> nn.Module:
    """Read a file of :func:`save_safetensors`.

    Args:
        path: The file.
        into: The module to fill; None rebuilds it from the description in the file.

    Returns:
        The saved part (the encoder, for ``part="representation"``) in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, damaged, without a description or of other shapes.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise CheckpointError(f"There is no file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {first_line(error)}") from error
    try:
        if into is None:
            if not info or info.get("init_args") is None:
                raise CheckpointError(
                    f"{path} cannot rebuild its module alone; give the module to fill as into="
                )
            with random.seeded(0):
                into = _part(
                    build({name: plain(info[name]) for name in ("class_path", "init_args")}), info["part"]
                )
        into.load_state_dict(tensors)
    except SpecError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except RuntimeError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"The weights in {path} do not fit: {_summary(error)}") from error
    return into.eval()

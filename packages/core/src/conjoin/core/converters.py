# SPDX-License-Identifier: Apache-2.0
"""How packages offer translations of weights to ``conjoin convert``.

A plugin's module has a tuple ``CONVERTERS`` of :class:`Converter`; the command finds the one that fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ("Converter", "converters", "official_pair")


@dataclass(frozen=True)
class Converter:
    """One translation between two formats of weights.

    Attributes:
        source: Format read: ``"official"``, ``"conjoin"``, ``"timm"`` ...
        target: Format written.
        system: The system it is for (``"IJEPA"``), or ``"any"``.
        run: Called with the two paths; raises ValueError with one sentence if the file does not fit.
    """

    source: str
    target: str
    system: str
    run: Callable[[Path, Path], object]


def official_pair(
    system: type, read: Callable[[Path], Any], write: Callable[[Any, Path], object]
) -> tuple[Converter, Converter]:
    """The two directions between a system's released files and our checkpoints.

    Each reads a whole file before it writes one, and writes under a temporary name first.

    Args:
        system: The class that released files become.
        read: Makes such a model from a released file.
        write: Writes a model as a released file.

    Returns:
        ``official -> conjoin`` and ``conjoin -> official``. The latter raises ValueError for another system.
    """

    def to_conjoin(source: Path, target: Path) -> None:
        import importlib.metadata

        import torch

        from conjoin.core.checkpoint import self_description
        from conjoin.core.checkpoint_io import replacing

        model = read(source)
        content = {
            "conjoin": self_description(model),
            "state_dict": model.state_dict(),
            "epoch": 0,
            "global_step": 0,
            "pytorch-lightning_version": importlib.metadata.version("lightning"),
        }
        with replacing(target) as temporary:
            torch.save(content, temporary)

    def to_official(source: Path, target: Path) -> None:
        from conjoin.core.checkpoint import load_model
        from conjoin.core.checkpoint_io import replacing

        model = load_model(source)
        if not isinstance(model, system):
            held = type(model).__name__
            raise ValueError(f"{source} holds a {held}; only {system.__name__} has this official form.")
        with replacing(target) as temporary:
            write(model, temporary)

    return (
        Converter("official", "conjoin", system.__name__, to_conjoin),
        Converter("conjoin", "official", system.__name__, to_official),
    )


def _to_safetensors(source: Path, target: Path) -> None:
    from conjoin.core.checkpoint import load_model, save_safetensors

    save_safetensors(load_model(source), target)


def converters() -> tuple[Converter, ...]:
    """Core's own and those of all plugins."""
    from conjoin.core import plugins

    offered = [item for module in plugins.load() for item in getattr(module, "CONVERTERS", ())]
    return (Converter("conjoin", "safetensors", "any", _to_safetensors), *offered)

# SPDX-License-Identifier: Apache-2.0
"""How packages offer translations of weights to ``conjoin convert``.

A plugin's module has a tuple ``CONVERTERS`` of :class:`Converter`; the command finds the one that fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ("Converter", "converters")


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


def _to_safetensors(source: Path, target: Path) -> None:
    from conjoin.core.checkpoint import load_model, save_safetensors

    save_safetensors(load_model(source), target)


def converters() -> tuple[Converter, ...]:
    """Core's own and those of all plugins."""
    from conjoin.core import plugins

    offered = [item for module in plugins.load() for item in getattr(module, "CONVERTERS", ())]
    return (Converter("conjoin", "safetensors", "any", _to_safetensors), *offered)

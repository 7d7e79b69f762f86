# SPDX-License-Identifier: Apache-2.0
"""Packages that announce themselves, and what to say about those that are absent.

A distribution adds classes, recipes and converters by one line of its ``pyproject.toml``::

    [project.entry-points."conjoin.plugins"]
    vision = "conjoin.vision"

The named module is imported once, by :func:`load`, before the command line is parsed; importing conjoin
itself loads no plugin, and nothing is registered with Lightning. What the module exports in ``__all__``
can be named without its path, so short names are unique over all plugins. Recipes are the YAML files
in ``recipes/`` beside the module; they are found without importing anything.
"""

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ("Plugin", "PluginError", "install_hint", "load", "nearest", "plugins", "short_names", "suggestion")

GROUP = "conjoin.plugins"

# Classes of the ecosystem by the extra that brings them: who asks for one that is not installed is told.
KNOWN = {
    "audio": frozenset(
        {
            "AJEPA",
            "AudioSet",
            "ESC50",
            "EmbeddedSounds",
            "FrontEnd",
            "SoundFineTune",
            "SpectrogramViT",
            "SpeechCommands",
            "TimeFrequencyMask",
        }
    ),
    "biosignal": frozenset(
        {
            "CODE15",
            "ECGJEPA",
            "PTBXL",
            "ChallengeECG",
            "ECGMixture",
            "ECGSource",
            "EEGTrials",
            "MimicECG",
            "RunMask",
            "SignalViT",
            "SimulatedECG",
            "Statistics",
        }
    ),
    "pointcloud": frozenset(
        {
            "ModelNet40",
            "PointJEPA",
            "PointPredictor",
            "PointTransformer",
            "ScanObjectNN",
            "ShapeNet55",
            "Shapes",
        }
    ),
    "tabular": frozenset(
        {
            "ALOI",
            "Adult",
            "CaliforniaHousing",
            "ColumnTokenizer",
            "EmbeddedTable",
            "Helena",
            "Higgs",
            "Jannis",
            "RepeatedSubsetMask",
            "RowEncoder",
            "Schema",
            "TJEPA",
            "Table",
            "TableFile",
            "TableModule",
        }
    ),
    "vision": frozenset(
        {
            "IJEPA",
            "SparseCNN",
            "MixedMask",
            "CNNJEPA",
            "ViT",
            "TimmEncoder",
            "ImageFolder",
            "ImageNet",
            "CIFAR10",
            "CIFAR100",
            "CIFARResNet",
            "Emoji",
            "Fashion",
            "FashionMNIST",
            "HDF5Images",
            "MultiViewImages",
            "ScatteredFashion",
        }
    ),
}
EXTRAS = ("vision", "samples", "audio", "pointcloud", "biosignal", "tabular", "multimodal", "dynamics")


class PluginError(ValueError):
    """Two plugins cannot live together."""


@dataclass(frozen=True)
class Plugin:
    """An announced package.

    Attributes:
        name: The entry point's name (``vision``).
        module: The module that it names (``conjoin.vision``).
        distribution: What was installed (``conjoin-vision``).
    """

    name: str
    module: str
    distribution: str

    def folder(self) -> Path | None:
        """The module's folder, found without running the module's own code; None if it has none."""
        try:
            spec = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):
            return None
        places = list(spec.submodule_search_locations or ()) if spec else []
        return Path(places[0]) if places else None


@functools.cache
def plugins() -> tuple[Plugin, ...]:
    """Every announced package, sorted by name, none of them imported."""
    found = {
        entry.name: Plugin(entry.name, entry.value, entry.dist.name if entry.dist else "unknown")
        for entry in importlib.metadata.entry_points(group=GROUP)
    }
    return tuple(found[name] for name in sorted(found))


@functools.cache
def load() -> tuple[ModuleType, ...]:
    """Import every plugin once.

    A plugin whose import fails is left out with a warning that names it.

    Raises:
        PluginError: If two plugins export different classes of one name.
    """
    modules = []
    for plugin in plugins():
        try:
            modules.append(importlib.import_module(plugin.module))
        except Exception as error:  # whatever a foreign package does wrong, the rest goes on
            warnings.warn(
                f"The plugin {plugin.name!r} ({plugin.distribution}, module {plugin.module}) cannot be "
                f"imported and is left out: {type(error).__name__}: {error}",
                stacklevel=2,
            )
    _check_unique(modules)
    return tuple(modules)


def _exported(module: ModuleType) -> dict[str, type]:
    found = {name: getattr(module, name, None) for name in getattr(module, "__all__", ())}
    return {name: item for name, item in found.items() if isinstance(item, type)}


def _check_unique(modules: Iterable[ModuleType]) -> None:
    owner: dict[str, tuple[str, type]] = {}
    for module in modules:
        for name, cls in _exported(module).items():
            other, first = owner.setdefault(name, (module.__name__, cls))
            if first is not cls:
                raise PluginError(
                    f"Two plugins export a class {name}: {other} and {module.__name__}; uninstall one of "
                    "them or rename one class"
                )


def short_names() -> dict[str, type]:
    """Classes of all plugins by their short name."""
    return {name: cls for module in load() for name, cls in _exported(module).items()}


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of ``names``, or None if none is similar."""
    lowered = {item.lower(): item for item in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return lowered[close[0]] if close else None


def extra_of(class_path: str) -> str | None:
    """The extra that would bring this class, or None."""
    parts = class_path.split(".")
    if len(parts) > 1 and parts[0] == "conjoin":
        return parts[1] if parts[1] in EXTRAS else None
    return next((extra for extra, names in KNOWN.items() if parts[-1] in names), None)


def install_hint(class_path: str) -> str:
    """What to do about a class that is not there: the extra to install, or the nearest name."""
    extra = extra_of(class_path)
    if extra and extra not in {plugin.name for plugin in plugins()}:
        return f'install it with `pip install "conjoin[{extra}]"`'
    return suggestion(class_path)


def suggestion(class_path: str) -> str:
    """The class whose short name is nearest."""
    close = nearest(class_path.rpartition(".")[2], short_names())
    return (
        f"did you mean {close}?"
        if close
        else "give its full path, package.module.Class, or install its package"
    )

# SPDX-License-Identifier: Apache-2.0
"""What a run folder holds, read once; what is missing or broken becomes a sentence."""

import csv
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml  # type: ignore[import-untyped,unused-ignore]
from numpy.typing import NDArray

__all__ = ("Run", "Series", "Spectra")

_T = TypeVar("_T")
_FILES = ("metrics.csv", "config.yaml", "monitor.npz", "evaluation.json", "checkpoints/last.ckpt")


@dataclass(frozen=True)
class Series:
    """One logged value: steps (T,) ascending, values (T,)."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float:
        """The final value."""
        return float(self.values[-1])


@dataclass(frozen=True)
class Spectra:
    """``monitor.npz``.

    Attributes:
        steps: (T,).
        eigenvalues: (T, D), descending.
        rankme: (T,).
        content_share: (T,).
        detected: (S, 2), step and index of the eigenvalue.
        predicted: (P,), steps at which a theory expects the P leading eigenvalues.
    """

    steps: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    rankme: NDArray[np.float64]
    content_share: NDArray[np.float64]
    detected: NDArray[np.float64]
    predicted: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Where it is.
        metrics: Logged values by name.
        config: ``config.yaml`` as text, ``None`` if absent.
        settings: The same, parsed.
        spectra: The monitor's record.
        evaluation: ``evaluation.json``.
        checkpoint: The checkpoint file.
        problems: For each absent or unreadable file, why it is not used, in one sentence.
    """

    folder: Path
    metrics: dict[str, Series] = field(default_factory=dict)
    config: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    spectra: Spectra | None = None
    evaluation: dict[str, Any] | None = None
    checkpoint: Path | None = None
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path, checkpoint: str | Path | None = None) -> "Run":
        """Read a folder.

        Args:
            folder: The run folder.
            checkpoint: Another checkpoint than the folder's own.

        Raises:
            FileNotFoundError: There is no such folder, or no such checkpoint.
            ValueError: The folder holds nothing of a run.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no run folder {folder}: give the folder that `conjoin fit` wrote"
            )
        weights = Path(checkpoint) if checkpoint is not None else folder / "checkpoints" / "last.ckpt"
        if checkpoint is not None and not weights.is_file():
            raise FileNotFoundError(f"there is no checkpoint {weights}")
        if not any((folder / name).is_file() for name in _FILES):
            raise ValueError(f"{folder} holds none of {', '.join(_FILES)}: it is not a run folder")
        problems: dict[str, str] = {}

        def take(name: str, reader: Callable[[Path], _T]) -> _T | None:
            path = folder / name
            if not path.is_file():
                problems[name] = f"The run folder has no {name}."
                return None
            try:
                return reader(path)
            except (
                OSError,
                ValueError,
                KeyError,
                EOFError,
                csv.Error,
                yaml.YAMLError,
                zipfile.BadZipFile,
            ) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                problems[name] = f"{name} could not be read: {reason}"
                return None

        config = take("config.yaml", lambda path: path.read_text(encoding="utf-8"))
        if not weights.is_file():
            problems["checkpoint"] = "The run folder has no checkpoints/last.ckpt."
        return cls(
            folder=folder,
            metrics=take("metrics.csv", _metrics) or {},
            config=config,
            settings=take("config.yaml", _settings) or {},
            spectra=take("monitor.npz", _spectra),
            evaluation=take("evaluation.json", _evaluation),
            checkpoint=weights if weights.is_file() else None,
            problems=problems,
        )

    def series(self, *names: str) -> Series | None:
        """The first of the named values that was logged."""
        return next((self.metrics[name] for name in names if name in self.metrics), None)

    def setting(self, path: str) -> Any:
        """A value of the configuration by its dotted path, ``None`` if there is none."""
        value: Any = self.settings
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def steps(self) -> int | None:
        """The last optimiser step that something was logged at."""
        ends = [series.steps[-1] for series in self.metrics.values()]
        return int(max(ends)) if ends else None

    def why(self, name: str) -> str:
        """Why a file is not used, or that it lacks what was looked for."""
        return self.problems.get(name, f"{name} does not hold this.")


def _metrics(path: Path) -> dict[str, Series]:
    points: dict[str, dict[float, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for place, row in enumerate(csv.DictReader(file)):
            step = _float(row.get("step")) if row.get("step") else float(place)
            for name, text in row.items():
                if (
                    isinstance(name, str)
                    and isinstance(text, str)
                    and text
                    and name != "step"
                    and step is not None
                ):
                    value = _float(text)
                    if value is not None:
                        # A resumed run logs some steps again: the later row is the one that counts.
                        points.setdefault(name, {})[step] = value
    found = {}
    for name, values in points.items():
        steps = sorted(values)
        found[name] = Series(np.array(steps), np.array([values[step] for step in steps]))
    return found


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _settings(path: Path) -> dict[str, Any]:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError("it is not a mapping")
    return settings


def _spectra(path: Path) -> Spectra:
    with np.load(path, allow_pickle=False) as file:
        names = [name for name in Spectra.__dataclass_fields__ if name in file]
        arrays = {name: np.asarray(file[name], dtype=np.float64) for name in names}
    missing = {"steps", "eigenvalues", "rankme", "content_share", "detected"} - set(names)
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    spectra = Spectra(**arrays)
    length = len(spectra.steps)
    if (
        spectra.eigenvalues.ndim != 2
        or {len(spectra.eigenvalues), len(spectra.rankme)} != {length}
        or not length
    ):
        raise ValueError("its arrays do not fit together")
    return spectra


def _evaluation(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list) or not found["rows"]:
        raise ValueError("it has no rows")
    for row in found["rows"]:
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("value"), int | float)
            or math.isnan(row["value"])
        ):
            raise ValueError("a row has no value")
        for name in ("features", "probe"):
            if not isinstance(row.get(name), str):
                raise ValueError(f"a row does not name its {name}")
    return found

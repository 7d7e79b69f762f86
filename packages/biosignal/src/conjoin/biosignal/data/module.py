# SPDX-License-Identifier: Apache-2.0
"""What all data modules for recordings share: the window and its place, and their common options."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from conjoin.biosignal.data.draw import strips
from conjoin.biosignal.transforms import CenterCrop, EvalWindows, RandomCrop
from conjoin.core import random
from conjoin.core.data import DataModule
from conjoin.core.masking import Masks

if TYPE_CHECKING:
    from conjoin.core.report.gallery import Panel

__all__ = ("SignalModule", "SignalOptions", "Windows", "held_out", "require")

Windows = Literal["overlapping", "adjacent", "middle"]


class SignalOptions(TypedDict, total=False):
    """What every data module for recordings can be told by name, beside its own arguments.

    Args:
        eval_windows: What evaluation sees of a recording longer than the window: ``"overlapping"`` windows,
            each half a window after the last, as in the paper, or ``"adjacent"`` ones, over whose features or
            answers it averages, or the one in the ``"middle"`` alone. Overlapping ones if not given.
        batch_size: Samples per batch and process; 64 if not given.
        num_workers: Worker processes per loader; 0 if not given, which is best for recordings in memory.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and crops; the run's seed if not given.
        max_corrupt: Unreadable recordings that may be skipped, per worker process; 100 if not given.
    """

    eval_windows: Windows
    batch_size: int
    num_workers: int
    eval_batch_size: int | None
    seed: int | None
    max_corrupt: int


class SignalModule(DataModule):
    """Base of the data modules for recordings.

    A subclass writes ``build``, whose samples hold float32 ``x`` (C, T), standardised. Training takes a
    random stretch of each recording. Evaluation has the one in the middle as ``x``, and where recordings are
    longer, windows all over them as ``looks`` (see :mod:`conjoin.core.data.looks`). Samples with several
    conditions have ``labels`` (L,) of 0 and 1 beside ``label``, which is the number of the only one and -1 if
    there are none or several.

    Args:
        window: Samples that the encoder sees.
        eval_windows: What evaluation sees of a longer recording, see :class:`SignalOptions`.
        batch_size: Samples per batch and process.
        num_workers: Worker processes per loader.
        eval_batch_size: Samples per batch in evaluation; ``batch_size`` if not given.
        seed: Seed of order and crops; the run's seed if not given.
        max_corrupt: Unreadable recordings that may be skipped, per worker process.

    Attributes:
        label_names: Names of the conditions of ``labels``; None if there are none.
        lead_names: Names of the channels of ``x``; None if they are not known.

    Raises:
        ValueError: If an argument is out of its range.
    """

    label_names: tuple[str, ...] | None = None
    lead_names: tuple[str, ...] | None = None

    def __init__(
        self,
        window: int,
        *,
        eval_windows: Windows = "overlapping",
        batch_size: int = 64,
        num_workers: int = 0,
        eval_batch_size: int | None = None,
        seed: int | None = None,
        max_corrupt: int = 100,
    ) -> None:
        super().__init__(
            batch_size, num_workers, eval_batch_size=eval_batch_size, seed=seed, max_corrupt=max_corrupt
        )
        if eval_windows not in get_args(Windows):
            raise ValueError(
                f"eval_windows must be one of {', '.join(get_args(Windows))}, not {eval_windows!r}."
            )
        self.window = window
        self.train_transform: nn.Module = RandomCrop(window)
        self.eval_transform: nn.Module = CenterCrop(window)
        if eval_windows != "middle":
            self.eval_transform = EvalWindows(window, window if eval_windows == "adjacent" else None)

    def draw(self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]) -> list["Panel"]:
        """For the report: the leads as strips with their names, and the same with hidden stretches tinted."""
        from conjoin.core.report.gallery import Panel

        x = sample["x"].detach().float().cpu().numpy()
        names = self.lead_names
        told = f"{len(x)} leads over time"
        named = told if names is None else f"{told}: {', '.join(names)}"
        panels = [Panel(told, named, strips(x, names=names))]
        if masks is not None:
            seen = masks.as_grid(grid)[0][0].cpu().numpy()
            panels.append(
                Panel(
                    "white: what the context encoder sees; tinted: to predict",
                    f"white: the {100 * seen.mean():.0f} % that the context encoder sees; tinted: the rest",
                    strips(x, ~seen, names),
                )
            )
        return panels


def require(path: Path, what: str) -> Path:
    """``path`` if it is there.

    Raises:
        FileNotFoundError: Naming what was to be there.
    """
    if not path.exists():
        raise FileNotFoundError(f"{what} is not at {path}: give the folder of the data set as root.")
    return path


def held_out(
    groups: NDArray[np.int64], shares: dict[str, float], seed: int = 0
) -> dict[str, NDArray[np.int64]]:
    """Split by key so that equal groups (patients) stay together.

    Args:
        groups: (N,) numbers of the patients; a negative one is a patient of its own.
        shares: Share per held-out split; the rest is ``"train"``.
        seed: Of the split, apart from the run's.

    Returns:
        Ascending positions per split.

    Raises:
        ValueError: If the shares leave nothing.
    """
    if min(shares.values(), default=0) < 0 or sum(shares.values()) >= 1:
        raise ValueError(f"Held-out shares must be at least 0 and sum up to less than 1, got {shares}.")
    own = np.where(groups < 0, -1 - np.arange(len(groups)), groups)
    keys = random.fold(random.key(seed, "patients"), torch.from_numpy(own))
    draw = random.uniform(keys, 1)[:, 0].numpy()
    parts: dict[str, NDArray[np.int64]] = {}
    low = 0.0
    for name, share in shares.items():
        parts[name] = np.flatnonzero((draw >= low) & (draw < low + share))
        low += share
    parts["train"] = np.flatnonzero(draw >= low)
    return parts

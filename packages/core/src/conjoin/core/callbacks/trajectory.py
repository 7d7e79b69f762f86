# SPDX-License-Identifier: Apache-2.0
"""The spectra that a run went through, as they are kept in checkpoints and written to ``monitor.npz``."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin.core.callbacks.eigensteps import detect_steps

__all__ = ("Trajectory",)


class Trajectory:
    """Measurements at ascending steps.

    Attributes:
        steps: Optimiser steps done at each of the T measurements.
        eigenvalues: T tensors (D,) float64, descending.
        rankme: T values.
        content_share: T values, NaN where the method has no targets.
        comparable: Whether enough embeddings were at hand, T values.
        predicted: Steps at which a theory expects the leading eigenvalues to be learned.
    """

    def __init__(self, predicted: Sequence[float] = ()) -> None:
        self.predicted = tuple(float(step) for step in predicted)
        self.steps: list[int] = []
        self.eigenvalues: list[Tensor] = []
        self.rankme: list[float] = []
        self.content_share: list[float] = []
        self.comparable: list[bool] = []

    def __len__(self) -> int:
        return len(self.steps)

    def append(
        self, step: int, eigenvalues: Tensor, rankme: float, content_share: float, comparable: bool
    ) -> None:
        """Add a measurement."""
        self.steps.append(step)
        self.eigenvalues.append(eigenvalues.to("cpu", torch.float64))
        self.rankme.append(rankme)
        self.content_share.append(content_share)
        self.comparable.append(comparable)

    def detected(self) -> list[tuple[float, int]]:
        """Discrete eigenvalue steps, looked for where enough embeddings were at hand.

        Before that the number of rows bounds the number of non-zero eigenvalues, and its growth
        would look like learning.
        """
        use = [number for number, comparable in enumerate(self.comparable) if comparable]
        if len(use) < 2:
            return []
        return detect_steps(
            torch.tensor([self.steps[number] for number in use]),
            torch.stack([self.eigenvalues[number] for number in use]),
        )

    def save(self, path: Path) -> None:
        """Write an .npz: steps (T,), eigenvalues (T, D), rankme (T,), content_share (T,), detected (S, 2).

        A row of ``detected`` is the step and the index of the eigenvalue; ``predicted`` (P,) is written too.
        The file is replaced as a whole.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                steps=np.asarray(self.steps, dtype=np.int64),
                eigenvalues=torch.stack(self.eigenvalues).numpy(),
                rankme=np.asarray(self.rankme, dtype=np.float64),
                content_share=np.asarray(self.content_share, dtype=np.float64),
                detected=np.asarray(self.detected(), dtype=np.float64).reshape(-1, 2),
                predicted=np.asarray(self.predicted, dtype=np.float64),
            )
        os.replace(part, path)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain values and tensors."""
        return {
            "steps": list(self.steps),
            "eigenvalues": torch.stack(self.eigenvalues) if self.eigenvalues else None,
            "rankme": list(self.rankme),
            "content_share": list(self.content_share),
            "comparable": list(self.comparable),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.steps = list(state_dict["steps"])
        self.eigenvalues = list(state_dict["eigenvalues"]) if self.steps else []
        self.rankme = list(state_dict["rankme"])
        self.content_share = list(state_dict["content_share"])
        self.comparable = list(state_dict["comparable"])

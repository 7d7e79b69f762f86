# SPDX-License-Identifier: Apache-2.0
"""The trained system and real samples to show it with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from conjoin.core.checkpoint import load_model
from conjoin.core.report.run import Run
from conjoin.core.spec import build, is_spec, resolve

__all__ = ("Subject", "build_datamodule")

_BATCH = 64


@dataclass
class Subject:
    """A system with its data.

    Attributes:
        model: In evaluation mode, on the CPU.
        datamodule: Gives ``evaluation_dataloader(split)``.
        split: Which split is shown.
        size: Samples in that split.
    """

    model: Any
    datamodule: Any
    split: str = "val"
    _loader: Any = field(default=None, repr=False)
    _order: list[Any] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, run: Run, datamodule: Any = None) -> "Subject":
        """Load the checkpoint of a run; without a data module, build the one that its configuration names.

        Raises:
            ValueError: There is no checkpoint, or no data module.
            Exception: Whatever loading raises: the caller puts it into words.
        """
        if run.checkpoint is None:
            raise ValueError(run.why("checkpoint"))
        model = load_model(run.checkpoint)
        subject = cls(
            model, datamodule if datamodule is not None else build_datamodule(run.settings.get("data"))
        )
        subject._open()
        return subject

    def _open(self) -> None:
        """Fix the order of samples: a permutation, since files are often sorted by class."""
        self.datamodule.prepare_data()
        self.datamodule.setup("validate")
        self._loader = self.datamodule.evaluation_dataloader(self.split)
        keys = list(self._loader.sampler)
        self._order = [keys[place] for place in np.random.default_rng(0).permutation(len(keys))]

    @property
    def size(self) -> int:
        """Samples in the split."""
        return len(self._order)

    def batches(self, count: int, size: int = _BATCH) -> Iterator[dict[str, Any]]:
        """``count`` samples, always the same ones, in batches."""
        chosen = self._order[:count]
        for first in range(0, len(chosen), size):
            samples = [self._loader.dataset[key] for key in chosen[first : first + size]]
            yield self._loader.collate_fn(samples)

    @torch.no_grad()
    def embeddings(self, count: int) -> tuple[Tensor, Tensor]:
        """Frozen embeddings (n, D) of up to ``count`` samples, and what is known of them.

        Returns:
            The embeddings, and labels (n,) int64, -1 where unknown; of samples without ``label`` the numbers
            that a regression asks for, (n,) float in original units, NaN where unknown.
        """
        found, answers = [], []
        for batch in self.batches(count):
            found.append(self.model.embed(batch).float())
            if "label" not in batch and "target" in batch:
                answers.append(self._original(batch["target"]))
            else:
                answers.append(torch.as_tensor(batch.get("label", torch.full((len(batch["x"]),), -1))))
        return torch.cat(found), torch.cat(answers)

    def _original(self, target: Tensor) -> Tensor:
        """Standardised targets in their own units."""
        scale = float(getattr(self.datamodule, "target_scale", 1.0))
        return target.double() * scale + float(getattr(self.datamodule, "target_mean", 0.0))

    def label_name(self, label: int) -> str:
        """The name of a class, or its number."""
        names = getattr(self.datamodule, "class_names", None)
        return str(names[label]) if names is not None and 0 <= label < len(names) else f"class {label}"


def build_datamodule(spec: Any) -> Any:
    """The data module that a ``config.yaml`` names.

    The file may come from elsewhere: only a data module is built from it, and inside only what describes
    itself.

    Raises:
        ValueError: The spec names no data module.
    """
    if not is_spec(spec):
        raise ValueError("The configuration names no data module: pass datamodule=... to draw samples.")
    cls = resolve(spec["class_path"], trust=True)
    if not issubclass(cls, pl.LightningDataModule):
        raise ValueError(f"{spec['class_path']} in the configuration is not a data module.")
    return cls(**build(spec.get("init_args") or {}))

# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours during training: what the representation knows with nothing fitted to it."""

from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from conjoin.core.callbacks.feature_buffer import FeatureBuffer
from conjoin.core.callbacks.online_probe import Score
from conjoin.core.evaluation.features import Features, extract
from conjoin.core.evaluation.knn import Votes

__all__ = ("OnlineKNN",)


class OnlineKNN(pl.Callback):
    """Logs ``probe/knn_acc`` on the validation split: cosine neighbours among labelled training rows.

    Args:
        k: Neighbours.
        temperature: Neighbours vote with weight ``exp(similarity / temperature)``; ``None`` gives each one
            vote.
        bank: ``"buffer"`` looks among the recent training embeddings (free, but augmented and slightly
            stale), ``"train"`` embeds the data module's training split as in evaluation, before each
            validation.
        size: Rows of the buffer to hold, for ``bank="buffer"``.
    """

    def __init__(
        self,
        k: int = 20,
        temperature: float | None = 0.07,
        bank: Literal["buffer", "train"] = "buffer",
        size: int = 4096,
    ) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if temperature is not None and temperature <= 0:
            raise ValueError(f"temperature must be positive or None, got {temperature}")
        if bank not in ("buffer", "train"):
            raise ValueError(f"bank must be 'buffer' or 'train', got {bank!r}")
        self.k = k
        self.temperature = temperature
        self.bank = bank
        self.size = size
        self._rows: Features | None = None
        self._score = Score()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find or create the shared feature buffer."""
        self._buffer = FeatureBuffer.shared(trainer, self, self.size if self.bank == "buffer" else 2)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fetch the bank."""
        self._rows = None
        if trainer.sanity_checking:
            return
        if self.bank == "train":
            loader = trainer.datamodule.evaluation_dataloader("train")  # type: ignore[attr-defined]
            rows = extract(pl_module, loader, pl_module.device, description="kNN bank", progress=False)
        elif len(self._buffer):
            rows = self._buffer.gather()
        else:
            return
        rows = rows.labelled().to(pl_module.device)
        if len(rows):
            self._rows = rows
        else:
            rank_zero_warn("OnlineKNN stays idle: no training sample has a label")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Classify a validation batch."""
        if self._rows is None or "label" not in batch or dataloader_idx:
            return
        self._score.add(batch, self._predict(self._rows, self._buffer.embed(pl_module, batch)))

    def _predict(self, rows: Features, z: Tensor) -> Tensor:
        # A class that the bank lacks cannot win, so the bank's labels are all the classes that matter.
        votes = Votes.of(rows.x, rows.label, z, k=self.k)
        return votes.predict(self.k, self.temperature)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the accuracy and let go of the bank."""
        accuracy = self._score.compute(pl_module.device)
        self._rows = None
        if accuracy is not None:
            pl_module.log("probe/knn_acc", accuracy, prog_bar=True)

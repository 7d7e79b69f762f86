# SPDX-License-Identifier: Apache-2.0
"""A linear probe that is trained beside the model, without touching it."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from conjoin.core import random
from conjoin.core.callbacks.feature_buffer import FeatureBuffer
from conjoin.core.callbacks.linear_head import LinearHead
from conjoin.core.distributed import gather_rows

__all__ = ("OnlineProbe", "Score")


class Score:
    """Accuracy over a split: hits by data-set index, so that samples repeated over ranks count once."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def add(self, batch: dict[str, Any], predicted: Tensor) -> None:
        """Take in the predictions (B,) for a batch; unlabelled samples are left out."""
        label = batch["label"]
        # Samples without an index are told apart by a negative number of their own.
        start = sum(len(index) for index, _ in self._parts)
        own = -1 - start - torch.arange(len(label), device=label.device)
        known = label >= 0
        self._parts.append((batch.get("index", own)[known], (predicted == label)[known]))

    def compute(self, device: torch.device) -> float | None:
        """The accuracy over all ranks, ``None`` if there was no labelled sample; starts anew."""
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        index = gather_rows(torch.cat([empty, *(part[0] for part in self._parts)]))
        hit = gather_rows(torch.cat([empty, *(part[1].to(torch.int64) for part in self._parts)]))
        self._parts = []
        if len(index) == 0:
            return None
        named = index >= 0
        order = index[named].argsort(stable=True)
        ordered, hits = index[named][order], hit[named][order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        return float(torch.cat((hits[first], hit[~named])).to(torch.float64).mean())


class OnlineProbe(pl.Callback):
    """Logs ``probe/linear_acc`` on the validation split.

    Each training batch's detached embeddings train a linear head that lives here, with an optimiser
    of its own; the module, its optimiser and its step counter never hear of it. Under accumulation
    the head learns from every micro-batch. Validation uses ``module.embed(batch)``.
    Labels come from ``batch["label"]``; -1 means unknown.

    Args:
        num_classes: C; the data module's if not given. With neither the probe stays idle and says so.
        lr: Learning rate of the head.
        weight_decay: Of the head.
    """

    def __init__(self, num_classes: int | None = None, lr: float = 3e-3, weight_decay: float = 1e-4) -> None:
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.num_classes = num_classes
        self.lr = lr
        self.weight_decay = weight_decay
        self.head: LinearHead | None = None
        self._restored: dict[str, Any] | None = None
        self._score = Score()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Learn the number of classes and find the shared feature buffer."""
        self._classes = self.num_classes or getattr(trainer.datamodule, "num_classes", None)  # type: ignore[attr-defined]
        self._buffer = FeatureBuffer.shared(trainer, self, 2)
        if self._classes is None and stage == "fit":
            rank_zero_warn("OnlineProbe stays idle: the data have no classes (set num_classes if they do)")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Train the head on this batch."""
        if self._classes is None or "label" not in batch:
            return
        z = outputs["embedding"].detach()
        if self.head is None:
            self.head = self._build(pl_module, z.shape[1], z.device)
        self.head.learn(z, batch["label"])

    def _build(self, module: pl.LightningModule, dim: int, device: torch.device) -> LinearHead:
        seed = getattr(module, "seed", None)
        assert self._classes is not None
        head = LinearHead(
            dim,
            self._classes,
            key=random.key(random.default_seed() if seed is None else seed, "online_probe"),
            lr=self.lr,
            weight_decay=self.weight_decay,
            device=device,
        )
        if self._restored is not None:
            head.load_state_dict(self._restored)
            self._restored = None
        return head

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
        if trainer.sanity_checking or "label" not in batch or dataloader_idx:
            return
        if self.head is None and self._restored is not None and self._classes is not None:
            self.head = self._build(pl_module, self._restored["weight"].shape[1], pl_module.device)
        if self.head is not None:
            self._score.add(batch, self.head.logits(self._buffer.embed(pl_module, batch)).argmax(1))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the accuracy."""
        accuracy = self._score.compute(pl_module.device)
        if accuracy is not None:
            pl_module.log("probe/linear_acc", accuracy, prog_bar=True)

    def state_dict(self) -> dict[str, Any]:
        """The head, whole."""
        if self.head is not None:
            return {"head": self.head.state_dict()}
        return {"head": self._restored} if self._restored is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the head's state until the first batch tells its device."""
        self.head = None
        self._restored = state_dict.get("head")

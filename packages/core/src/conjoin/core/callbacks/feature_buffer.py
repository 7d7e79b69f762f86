# SPDX-License-Identifier: Apache-2.0
"""The recent training embeddings, kept once per trainer for everybody who looks at them."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from conjoin.core.distributed import gather_rows, rank, world_size
from conjoin.core.evaluation.features import Features

__all__ = ("FeatureBuffer",)


class FeatureBuffer(pl.Callback):
    """Ring buffer of the last embeddings of training, their labels and their data-set indices.

    A callback that needs it calls :meth:`shared` in its ``setup``; the first one to ask creates the
    buffer on the trainer's callback list, in front of itself, so that rows are there when it looks
    and so that checkpoints carry them. Rows stay on the training device (a copy to the host would
    stop it at every step) and on their rank until :meth:`gather` is called.

    Args:
        size: Rows to keep, over all ranks together.
    """

    def __init__(self, size: int = 4096) -> None:
        if size < 2:
            raise ValueError(f"size must be at least 2, got {size}")
        self.size = size
        self._x: Tensor | None = None
        self._label: Tensor | None = None
        self._index: Tensor | None = None
        self._pushed = 0
        self._embedded: tuple[Any, Tensor] | None = None

    @classmethod
    def shared(cls, trainer: pl.Trainer, asking: pl.Callback, size: int) -> "FeatureBuffer":
        """The trainer's buffer, with room for at least ``size`` rows."""
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, cls):
                callback.grow(size)
                return callback
        buffer = cls(size)
        place = callbacks.index(asking) if asking in callbacks else 0
        # A new list: Lightning is walking through the old one while it calls `setup`.
        trainer.callbacks = [*callbacks[:place], buffer, *callbacks[place:]]  # type: ignore[attr-defined]
        return buffer

    def grow(self, size: int) -> None:
        """Make room for ``size`` rows; what is held stays."""
        if size > self.size:
            held = self._ordered() if self._x is not None else None
            self.size = size
            if held is not None:
                self._fill(*held)

    @property
    def capacity(self) -> int:
        """Rows that this rank keeps."""
        return -(-self.size // world_size())

    def __len__(self) -> int:
        return min(self._pushed, self.capacity)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the embeddings of the step.

        Raises:
            KeyError: ``training_step`` did not return them.
        """
        if not isinstance(outputs, dict) or "embedding" not in outputs:
            raise KeyError(
                f"{type(pl_module).__name__}.training_step must return a dictionary with 'embedding' (B, D) "
                "for the monitors and online probes; return it or remove those callbacks"
            )
        x = outputs["embedding"].detach()
        unknown = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        found = batch if isinstance(batch, dict) else {}
        self.push(x, found.get("label", unknown), found.get("index", unknown))

    def push(self, x: Tensor, label: Tensor, index: Tensor) -> None:
        """Append rows ``x`` (B, D) with ``label`` (B,) and ``index`` (B,), dropping the oldest."""
        capacity = self.capacity
        x, label, index = x[-capacity:], label[-capacity:], index[-capacity:]
        if self._x is None or self._label is None or self._index is None:
            self._x = torch.zeros(capacity, x.shape[1], dtype=torch.float32, device=x.device)
            self._label = torch.full((capacity,), -1, dtype=torch.int64, device=x.device)
            self._index = torch.full((capacity,), -1, dtype=torch.int64, device=x.device)
        elif self._x.device != x.device:
            self._x, self._label, self._index = (t.to(x.device) for t in (self._x, self._label, self._index))
        place = (self._pushed + torch.arange(len(x), device=x.device)) % capacity
        self._x[place] = x.to(torch.float32)
        self._label[place] = label.to(torch.int64)
        self._index[place] = index.to(torch.int64)
        self._pushed += len(x)

    def _ordered(self) -> tuple[Tensor, Tensor, Tensor]:
        """This rank's rows, labels and indices, oldest first, so that sums do not depend on the wrap."""
        if self._x is None or self._label is None or self._index is None:
            raise RuntimeError("the feature buffer is empty: no training step has run yet")
        if self._pushed <= len(self._x):
            held = slice(0, self._pushed)
            return self._x[held], self._label[held], self._index[held]
        turn = -(self._pushed % len(self._x))
        return self._x.roll(turn, 0), self._label.roll(turn, 0), self._index.roll(turn, 0)

    def _fill(self, x: Tensor, label: Tensor, index: Tensor) -> None:
        self._x = self._label = self._index = None
        self._pushed = 0
        self.push(x, label, index)

    def rows(self) -> Tensor:
        """(R, D) float32 rows of this rank, oldest first."""
        return self._ordered()[0]

    def gather(self) -> Features:
        """The rows of all ranks; every rank must call it.

        Raises:
            RuntimeError: The buffer is empty.
        """
        return Features(*(gather_rows(part) for part in self._ordered()))

    def embed(self, module: Any, batch: Any) -> Tensor:
        """``module.embed(batch)`` in float32, computed once for all callbacks that ask for this batch."""
        if self._embedded is None or self._embedded[0] is not batch:
            self._embedded = (batch, module.embed(batch).detach().to(torch.float32))
        return self._embedded[1]

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the step has embedded already."""
        if isinstance(outputs, dict) and "frozen" in outputs:
            self._embedded = (batch, outputs["frozen"].detach().to(torch.float32))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let go of the last validation batch."""
        self._embedded = None

    def state_dict(self) -> dict[str, Any]:
        """Rows of all ranks; a collective, as saving a checkpoint is."""
        if self._x is None:
            return {}
        held = self.gather().to("cpu")
        return {
            "rows_per_rank": gather_rows(torch.tensor([len(self)])).tolist(),
            "x": held.x.clone(),
            "label": held.label.clone(),
            "index": held.index.clone(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back this rank's rows; on another number of ranks, an even share of all rows."""
        if not state_dict:
            return
        lengths = state_dict["rows_per_rank"]
        if len(lengths) == world_size():
            mine = slice(sum(lengths[: rank()]), sum(lengths[: rank() + 1]))
        else:
            mine = slice(rank(), None, world_size())
        self._fill(state_dict["x"][mine], state_dict["label"][mine], state_dict["index"][mine])

# SPDX-License-Identifier: Apache-2.0
"""Reading checkpoints without running them; writing them so that a failure never costs the previous one.

A file is written beside its goal under a temporary name, flushed to the device, and renamed: on a POSIX
file system the goal is the old file or the whole new one at every moment.
"""

import contextlib
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError

__all__ = ("AtomicCheckpointIO", "CheckpointError", "SaveLast", "load", "replacing")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, trusted or written; the message says which file and what to do."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name to write to; rename it to ``path`` if the block succeeds, else remove it.

    Args:
        path: The goal. Its folder is made if need be.

    Yields:
        A path in the same folder.

    Raises:
        CheckpointError: If anything cannot be written. What stood at ``path`` before is untouched.
    """
    goal = Path(path)
    temporary = goal.with_name(f".{goal.name}.{os.getpid()}.part")
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, goal)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"Cannot write {goal}: {_reason(error)}; {_comfort(goal)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    """The system's own words: torch wraps an OSError of the file object in errors of its writer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def _comfort(goal: Path) -> str:
    if goal.exists():
        return "the previous file of that name is untouched"
    return "make room or choose another folder with --trainer.default_root_dir"


def load(path: str | Path | IO[bytes], *, map_location: Any = "cpu", trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint without running anything in it.

    Args:
        path: A file written by ``torch.save``, or an open binary file. Large files are mapped into
            memory, not read.
        map_location: As in ``torch.load``.
        trust: Unpickle whatever the file holds. Only for files of your own. Sharded checkpoints (folders)
            need it.

    Raises:
        CheckpointError: If the file is missing, damaged, not a checkpoint, or wants to run code.
    """
    mapped = False
    if isinstance(path, str | Path) and is_sharded(Path(path)):
        return _load_sharded(Path(path), map_location, trust)
    if isinstance(path, str | Path):
        _check_file(Path(path))
        mapped = zipfile.is_zipfile(path) and map_location == "cpu"
    try:
        content = torch.load(path, map_location=map_location, weights_only=not trust, mmap=mapped or None)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "weights only" in str(error).lower():
            raise CheckpointError(
                f"{path} holds pickled Python objects beside its weights and could run code when opened, so "
                "it was refused; if you trust its source, load it with trust=True"
            ) from error
        raise CheckpointError(f"{path} is not a checkpoint: {first_line(error)}") from error
    except (EOFError, RuntimeError, ValueError, AttributeError, ImportError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not the dictionary of a checkpoint")
    return content


def is_sharded(path: Path) -> bool:
    """Whether ``path`` is a folder that Lightning's sharding strategies wrote, one file per rank."""
    return (path / "meta.pt").is_file() and (path / ".metadata").is_file()


def _load_sharded(path: Path, map_location: Any, trust: bool) -> dict[str, Any]:
    """Put the shards of a folder together in this one process."""
    if not trust:
        raise CheckpointError(
            f"{path} is a sharded checkpoint, whose index is a pickle and could run code when opened, so it "
            "was refused; if you trust its source, load it with trust=True"
        )
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.pt"
        dcp_to_torch_save(path, whole)
        content: dict[str, Any] = torch.load(whole, map_location=map_location, weights_only=True)
    optimizers = sorted(name for name in content if name.startswith("optimizer_"))
    content["optimizer_states"] = [content.pop(name) for name in optimizers]
    content.update(torch.load(path / "meta.pt", map_location=map_location, weights_only=True))
    return content


def _check_file(path: Path) -> None:
    """Raise for what can be told without unpickling: missing, a folder, empty, cut short."""
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, and not a sharded checkpoint: it holds no meta.pt")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path} is empty: its writing was cut short")
    if start == b"PK\x03\x04" and not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is truncated: its end is missing, so it was not copied or written in full"
        )


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin with atomic writes and safe reads.

    Tensors go straight to the file, not through a second copy in memory. Paths with a scheme
    (``s3://``) are left to Lightning, whose object stores are atomic by themselves.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            CheckpointError: If it cannot be written; an older file at ``path`` is untouched.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint with ``weights_only=True`` unless the caller says False.

        Raises:
            CheckpointError: If the file is missing, damaged or not trusted.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only)
        return load(path, map_location=map_location or "cpu", trust=weights_only is False)


class SaveLast(Checkpoint):
    """Keep ``checkpoints/last.ckpt`` in the run folder up to date.

    Written every ``every_n_steps`` optimiser steps and when training ends, always under the same name,
    so a run costs the space of one checkpoint (two while one is being written). The time of a save is
    the time of writing the weights once: choose ``every_n_steps`` so that it is rare.

    Args:
        every_n_steps: Optimiser steps between saves.
        keep_every_n_steps: Also keep ``step=<n>.ckpt`` at multiples of this many steps; None keeps none.
    """

    def __init__(self, every_n_steps: int = 1000, keep_every_n_steps: int | None = None) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("keep_every_n_steps", keep_every_n_steps)):
            if value is not None and value < 1:
                raise ValueError(f"SaveLast({name}={value}): must be at least 1")
        self.every_n_steps = every_n_steps
        self.keep_every_n_steps = keep_every_n_steps
        self.best_model_path = ""
        self._saved_at = -1
        self._step = 0

    @staticmethod
    def folder(trainer: Trainer) -> Path:
        """Where the files go: ``checkpoints`` in the logger's folder."""
        return Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A resumed run has its state on disk already."""
        self._saved_at = self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after an optimiser step whose number is due; never in the middle of an accumulation."""
        step = trainer.global_step
        stepped, self._step = step != self._step, step
        if step == self._saved_at:
            return
        # A time limit or max_steps may end the run inside an epoch: this is what can be gone on from.
        leaving = trainer.should_stop or step == trainer.max_steps
        if step % self.every_n_steps == 0 or (leaving and stepped):
            self._save(trainer, "last.ckpt")
        if self.keep_every_n_steps and step % self.keep_every_n_steps == 0:
            self._save(trainer, f"step={step}.ckpt")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the finished run, with the progress counters of its last epoch closed.

        After a stop inside an epoch they would be closed too early, and the run would go on with the next
        epoch: the state of the last step, which is on disk, stays.
        """
        inside = not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not (inside and self._saved_at == trainer.global_step):
            self._save(trainer, "last.ckpt")

    def _save(self, trainer: Trainer, name: str) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # bound by a mixin
            return
        path = self.folder(trainer) / name
        trainer.save_checkpoint(path)
        self._saved_at = trainer.global_step
        self.best_model_path = str(path)

# SPDX-License-Identifier: Apache-2.0
"""Frozen features of a data set, each sample once, whatever the number of ranks."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from conjoin.core import distributed
from conjoin.core.evaluation.progress import steps

__all__ = ("Embedder", "Features", "accuracy", "extract", "raw_input")

Batch = Mapping[str, Any]


class Embedder(Protocol):
    """What has frozen features: every :class:`~conjoin.core.methods.JointEmbedding`."""

    def embed(self, batch: Any) -> Tensor:
        """Features (B, D) of a batch."""


@dataclass(frozen=True)
class Features:
    """Rows and what is known of them.

    Attributes:
        x: (N, ...) features.
        label: (N,) int64, -1 where unknown.
        index: (N,) int64 position in the data set, -1 where unknown.
    """

    x: Tensor
    label: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def select(self, which: Tensor) -> "Features":
        """Rows chosen by a boolean mask or by positions."""
        return Features(self.x[which], self.label[which], self.index[which])

    def labelled(self) -> "Features":
        """The rows whose label is known."""
        return self.select(self.label >= 0)

    def to(self, device: torch.device | str) -> "Features":
        """The same rows on another device."""
        return Features(self.x.to(device), self.label.to(device), self.index.to(device))


def raw_input(batch: Batch) -> Tensor:
    """The input itself as features: ``batch["x"]`` flattened to (B, C * H * W)."""
    return batch["x"].flatten(1).to(torch.float32)  # type: ignore[no-any-return]


def to_device(batch: Any, device: torch.device | str) -> Any:
    """A batch with its tensors on ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    return batch


@torch.no_grad()
def extract(
    source: Embedder | Callable[[Any], Tensor],
    dataloader: Iterable[Any],
    device: torch.device | str = "cpu",
    *,
    description: str = "features",
    progress: bool = True,
) -> Features:
    """Features of every sample of a loader.

    With several ranks each embeds what its distributed sampler hands it (or every W-th batch of a
    loader without one); the rows are gathered, so that all ranks return the same. A sample that
    arrives twice, as padding samplers make it, is kept once.

    Args:
        source: A model with ``embed(batch)``, or a function from a batch to (B, ...) features.
        dataloader: Yields batches with ``x`` and, where known, ``label`` and ``index``.
        device: Where to compute; the result lies on the CPU, in float32.
        description: Shown beside the progress bar.
        progress: Show the bar (rank zero only).

    Raises:
        ValueError: The loader is empty.
    """
    embed = source.embed if hasattr(source, "embed") else source
    rank, size = distributed.rank(), distributed.world_size()
    sharded = getattr(getattr(dataloader, "sampler", None), "num_replicas", 1) > 1
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    seen = 0
    with frozen(source):
        for number, batch in enumerate(steps(dataloader, description, progress and rank == 0)):
            rows = len(batch["x"])
            if sharded or number % size == rank:
                # A position in this loader stands in for a missing index: unique only when not sharded.
                unknown = torch.full((rows,), -1) if sharded else torch.arange(seen, seen + rows)
                label = batch.get("label", torch.full((rows,), -1)).to(torch.int64).cpu()
                index = batch.get("index", unknown).to(torch.int64).cpu()
                batch = to_device(batch, device)
                x = embed(batch)
                parts.append((x.to("cpu", torch.float32), label, index))
            seen += rows
    if seen == 0:
        raise ValueError(f"there is nothing to embed: the loader of {description!r} is empty")
    gathered = Features(*(distributed.gather_rows(column) for column in _columns(parts)))
    index = gathered.index
    if bool((index < 0).any()):
        return gathered
    order = index.argsort(stable=True)
    ordered = index[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return gathered.select(order[first])


def _columns(parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    if not parts:
        raise ValueError("a rank has no batch to embed: use fewer ranks or smaller batches")
    x, label, index = zip(*parts, strict=True)
    return torch.cat(x), torch.cat(label), torch.cat(index)


@contextlib.contextmanager
def frozen(source: object) -> Iterator[None]:
    """Evaluation mode for a module, and its previous modes afterwards."""
    modules = list(source.modules()) if isinstance(source, torch.nn.Module) else []
    modes = [module.training for module in modules]
    if modules:
        modules[0].eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def accuracy(predicted: Tensor, label: Tensor) -> float:
    """Share of equal entries."""
    return float((predicted == label).to(torch.float64).mean())

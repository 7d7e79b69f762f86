# SPDX-License-Identifier: Apache-2.0
"""The result of masking and the contract of the samplers.

Tokens are numbered in raster order (last axis fastest). A sampler is a frozen dataclass of plain
numbers, so a recipe can hold it and a checkpoint can describe it; all its randomness comes from the
keys it is called with.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ("MaskSampler", "Masks")


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """Token indices of one batch.

    Args:
        context: (B, Kc) int64, the tokens that the context encoder sees.
        targets: (B, M, Kt) int64, the tokens to predict, M sets per sample.
        context_valid: (B, Kc) bool, False where ``context`` is padding; ``None`` where nothing is.
        targets_valid: (B, M, Kt) bool, the same for ``targets``.

    Raises:
        ValueError: If shapes or types do not fit together.
    """

    context: Tensor
    targets: Tensor
    context_valid: Tensor | None = None
    targets_valid: Tensor | None = None

    def __post_init__(self) -> None:
        if self.context.ndim != 2 or self.targets.ndim != 3:
            raise ValueError(
                "Masks: context must be (B, Kc) and targets (B, M, Kt), got "
                f"{tuple(self.context.shape)} and {tuple(self.targets.shape)}."
            )
        if len(self.context) != len(self.targets):
            raise ValueError(
                f"Masks: context holds {len(self.context)} samples, targets {len(self.targets)}; "
                "they describe one batch."
            )
        for name, index, valid in (
            ("context", self.context, self.context_valid),
            ("targets", self.targets, self.targets_valid),
        ):
            if index.dtype != torch.int64:
                raise ValueError(f"Masks: {name} must be int64 token indices, got {index.dtype}.")
            if valid is not None and (valid.dtype != torch.bool or valid.shape != index.shape):
                raise ValueError(
                    f"Masks: {name}_valid must be bool of shape {tuple(index.shape)}, "
                    f"got {valid.dtype} of shape {tuple(valid.shape)}."
                )

    def __len__(self) -> int:
        return len(self.context)

    def __repr__(self) -> str:
        _, sets, length = self.targets.shape
        padded = self.context_valid is not None or self.targets_valid is not None
        return (
            f"Masks(batch={len(self)}, context={self.context.shape[1]}, targets={sets}x{length}"
            f"{', padded' if padded else ''})"
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Masks":
        """The same masks on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=non_blocking)

        return Masks(
            self.context.to(device, non_blocking=non_blocking),
            self.targets.to(device, non_blocking=non_blocking),
            move(self.context_valid),
            move(self.targets_valid),
        )

    def as_grid(self, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Maps for pictures: context (B, *grid) and targets (B, M, *grid), bool."""
        cells = math.prod(grid)
        return (
            _to_map(self.context, self.context_valid, cells).view(len(self), *grid),
            _to_map(self.targets, self.targets_valid, cells).view(*self.targets.shape[:2], *grid),
        )

    def validate(self, grid: tuple[int, ...], *, disjoint: bool = True) -> None:
        """Check the indices themselves; waits for the device, so meant for tests and new samplers.

        Args:
            grid: The token grid.
            disjoint: Also ask that no context token is a target.

        Raises:
            ValueError: If an index lies outside the grid, a set is not strictly ascending, or a
                context token is a target of the same sample.
        """
        cells = math.prod(grid)
        for name, index, valid in (
            ("context", self.context, self.context_valid),
            ("targets", self.targets, self.targets_valid),
        ):
            real = index if valid is None else index[valid]
            if real.numel() and (int(real.min()) < 0 or int(real.max()) >= cells):
                raise ValueError(
                    f"Masks: {name} holds indices from {int(real.min())} to {int(real.max())}; "
                    f"a grid of {grid} has tokens 0 to {cells - 1}."
                )
            falls = index.diff(dim=-1) <= 0
            if valid is not None:
                falls &= valid[..., 1:] & valid[..., :-1]
            if bool(falls.any()):
                raise ValueError(f"Masks: {name} must be sorted ascending without repeats.")
        if disjoint:
            context, targets = self.as_grid((cells,))
            shared = int((context & targets.any(1)).any(-1).sum())
            if shared:
                raise ValueError(f"Masks: in {shared} of {len(self)} samples a context token is a target.")


def _to_map(index: Tensor, valid: Tensor | None, cells: int) -> Tensor:
    hits = torch.zeros(*index.shape[:-1], cells, dtype=torch.int64, device=index.device)
    weight = torch.ones_like(index) if valid is None else valid.to(torch.int64)
    # Padding may point anywhere, also at -1; its weight is 0.
    return hits.scatter_add_(-1, index.clamp(0, cells - 1), weight) > 0


class MaskSampler(ABC):
    """Draws the masks of a batch. Subclasses are frozen dataclasses of plain numbers."""

    @abstractmethod
    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch.

        Args:
            grid: Tokens per axis, raster order.
            keys: int64 (B,), one per sample (seed, purpose, epoch and index already folded in).
            step_key: One key per batch, equal on all ranks: what all samples of the batch share.

        Returns:
            Masks on the device of ``keys``.
        """

    @abstractmethod
    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid in which these masks cannot fit.

        Args:
            grid: Tokens per axis.

        Raises:
            ValueError: With the numbers that do not fit.
        """

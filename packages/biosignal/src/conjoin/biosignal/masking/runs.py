# SPDX-License-Identifier: Apache-2.0
"""ECG-JEPA's masks: a few long hidden runs, everything hidden is predicted (arXiv 2410.13867).

Per batch a share r ~ U(0.15, 0.25) of the N patches is kept, K = ceil(r N), so M = N - K are hidden. Per
sample, until M are hidden:

1. choose a visible run with probability proportional to its length;
2. draw a block length b uniformly from {min_block, ..., left}, or take all that is left to hide if that is
   less;
3. hide the whole run if it is not longer than b;
4. otherwise hide b of it at a random place; a remainder shorter than ``min_block`` is put against a hidden
   neighbour instead, at a random end of the run that has one, so that no hidden run is shorter.

Choosing a visible *patch* uniformly and taking its run is the same as step 1, and that is how it is done
here, for all samples of a batch at once.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking import Masks, MaskSampler
from conjoin.core.masking.cells import check_count, check_grid, check_range, draw, stream
from conjoin.core.random import uniform

__all__ = ("RunMask",)


@dataclass(frozen=True)
class RunMask(MaskSampler):
    """Context: a random share in few runs; one target set: all the other patches. Defaults are ECG-JEPA's.

    Args:
        keep: Range of the visible share, one draw per batch.
        min_block: Least length of a hidden run, in patches.

    Raises:
        ValueError: For a value out of its range.
    """

    keep: tuple[float, float] = (0.15, 0.25)
    min_block: int = 10

    def __post_init__(self) -> None:
        check_range(self, "keep", self.keep, most=1.0)
        check_count(self, "min_block", self.min_block, 1)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a sequence in which not even one run would be hidden."""
        check_grid(self, grid, dims=1)
        hidden = grid[0] - math.ceil(grid[0] * self.keep[1])
        if hidden < self.min_block:
            raise ValueError(
                f"RunMask: masks cannot fit in {grid[0]} patches: keeping {self.keep[1]:g} of them hides "
                f"{hidden}, but a run has at least {self.min_block}; lower keep or min_block."
            )

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        self.check(grid)
        low, high = self.keep
        share = low + draw(step_key, "kept share", 1)[0] * (high - low)
        kept = math.ceil(grid[0] * share)
        hidden = self._hide(grid[0], grid[0] - kept, keys)
        # A stable sort lists visible patches first, each group in order of time.
        order = hidden.to(torch.int8).argsort(dim=1, stable=True)
        return Masks(order[:, :kept], order[:, None, kept:])

    def _hide(self, length: int, wanted: int, keys: Tensor) -> Tensor:
        """Maps (B, N) with exactly ``wanted`` true patches in each row."""
        hidden = torch.zeros(len(keys), length, dtype=torch.bool, device=keys.device)
        index = torch.arange(length, device=keys.device)
        left = torch.full_like(keys, wanted)
        block = 0
        while bool((left > 0).any()):
            u = uniform(stream(keys, f"hidden block {block}"), 3)
            start, end = self._run(hidden, index, u[:, 0])
            room = end - start
            size = torch.where(
                left >= self.min_block,
                self.min_block + (u[:, 1] * (left - self.min_block + 1)).long(),
                left,
            ).minimum(room)
            place = start + (u[:, 2] * (room - size + 1)).long()
            # A run that touches both borders is the whole sequence, which comes first, with enough left.
            at_end = torch.where(start == 0, end < length, (end < length) & (u[:, 2] < 0.5))
            glued = torch.where(at_end, end - size, start)
            place = torch.where(left >= self.min_block, place, glued)
            row = (index >= place.unsqueeze(1)) & (index < (place + size).unsqueeze(1))
            hidden |= row & (left > 0).unsqueeze(1)
            left = wanted - hidden.sum(dim=1)
            block += 1
        return hidden

    @staticmethod
    def _run(hidden: Tensor, index: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end (B,) of the visible run around a visible patch that ``u`` in [0, 1) chooses."""
        length = len(index)
        visible = ~hidden
        rank = (u * visible.sum(dim=1)).long()
        chosen = ((visible.cumsum(dim=1) == (rank + 1).unsqueeze(1)) & visible).long().argmax(dim=1)
        before = hidden & (index < chosen.unsqueeze(1))
        after = hidden & (index > chosen.unsqueeze(1))
        start = torch.where(before, index, -1).amax(dim=1) + 1
        end = torch.where(after, index, length).amin(dim=1)
        return start, end

# SPDX-License-Identifier: Apache-2.0
"""The masks of the I-JEPA release, number for number (facebookresearch/ijepa, commit 52c1ae9).

Beside the definition of the paper the release has habits that change the distribution:

* one uniform number sets both a block's scale and its aspect;
* a block never spans a side, and its corner is drawn below ``grid - side`` instead of up to it, so
  the last row and column are never used, and in common grids the context block never moves;
* index lists are cut to the shortest of the batch by dropping their last entries, the lower rows.

Use it to repeat published numbers; :class:`~conjoin.core.masking.multi_block.MultiBlockMask` has none
of the three. It draws from generators one sample after the other and is about as slow as the release.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.cells import check_count, check_grid, check_range, common_length
from conjoin.core.random import generator

__all__ = ("OfficialMultiBlockMask",)

_TRIES = 20


@dataclass(frozen=True)
class OfficialMultiBlockMask(MaskSampler):
    """I-JEPA's released collator in two dimensions; the arguments are those of ``MultiBlockMask``.

    Args:
        targets: Target blocks M.
        target_scale: Range of a target's share of the grid.
        target_aspect: Range of a target's height relative to its width.
        context_scale: Range of the context block's share.
        min_keep: A context must keep more tokens than this.
        allow_overlap: Leave the target cells in the context.

    Raises:
        ValueError: For a value out of its range.
    """

    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    min_keep: int = 10
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        check_count(self, "targets", self.targets, 1)
        check_count(self, "min_keep", self.min_keep, 0)
        check_range(self, "target_scale", self.target_scale, most=1.0)
        check_range(self, "context_scale", self.context_scale, most=1.0)
        check_range(self, "target_aspect", self.target_aspect)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a grid whose smallest blocks are empty or no larger than ``min_keep``.

        The release would look for a mask for ever.
        """
        check_grid(self, grid, dims=2)
        for kind, scale, aspect in (
            ("target", self.target_scale, self.target_aspect),
            ("context", self.context_scale, (1.0, 1.0)),
        ):
            # Sides move with the one number; its ends and the middle bound what can happen.
            smallest = min(math.prod(_sides(grid, scale, aspect, u)) for u in (0.0, 0.5, 1.0))
            if smallest <= self.min_keep:
                raise ValueError(
                    f"OfficialMultiBlockMask: masks cannot fit in a grid of {grid}: a {kind} block may have "
                    f"only {smallest} tokens and more than min_keep={self.min_keep} are asked for (the "
                    "release asks it of targets too); lower min_keep or use more (smaller) patches."
                )

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch, each sample from its own key; see ``MaskSampler``."""
        self.check(grid)
        seed = step_key & ((1 << 63) - 1)
        return self.sample(grid, seed, [generator(k) for k in keys.tolist()]).to(keys.device)

    def sample(self, grid: tuple[int, ...], seed: int, generators: Sequence[torch.Generator]) -> Masks:
        """Draw one batch as the release does.

        Args:
            grid: (rows, columns).
            seed: Sets the block sizes: the number of the batch, from 0.
            generators: One per sample, for the positions; the release uses torch's global one for
                all of them, ``[torch.default_generator] * batch_size``.
        """
        sizes = torch.Generator().manual_seed(seed)
        u, v = (float(torch.rand(1, generator=sizes)) for _ in range(2))
        target = _sides(grid, self.target_scale, self.target_aspect, u)
        context = _sides(grid, self.context_scale, (1.0, 1.0), v)
        contexts, targets = [], []
        for source in generators:
            blocks = [self._place(grid, target, [], source) for _ in range(self.targets)]
            hidden = [] if self.allow_overlap else [block for block, _ in blocks]
            targets.append([cells for _, cells in blocks])
            contexts.append(self._place(grid, context, hidden, source)[1])
        length = common_length(torch.tensor([len(cells) for cells in contexts]))
        return Masks(
            torch.stack([cells[:length] for cells in contexts]),
            torch.stack([torch.stack(sample) for sample in targets]),
        )

    def _place(
        self, grid: tuple[int, ...], sides: tuple[int, int], hidden: list[Tensor], source: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A block's map and those of its cells that are not hidden; after 20 tries hide one block less."""
        for kept in range(len(hidden), -1, -1):
            for _ in range(_TRIES):
                top, left = (
                    int(torch.randint(0, g - s, (1,), generator=source))
                    for g, s in zip(grid, sides, strict=True)
                )
                block = torch.zeros(grid, dtype=torch.bool)
                block[top : top + sides[0], left : left + sides[1]] = True
                free = block.clone()
                for other in hidden[:kept]:
                    free &= ~other
                cells = free.flatten().nonzero().squeeze(1)
                if len(cells) > self.min_keep:
                    return block, cells
        raise ValueError(
            f"OfficialMultiBlockMask: masks cannot fit in a grid of {grid}: a block of {sides} has no more "
            f"than min_keep={self.min_keep} tokens; lower min_keep."
        )


def _sides(
    grid: tuple[int, ...], scale: tuple[float, float], aspect: tuple[float, float], u: float
) -> tuple[int, int]:
    """Height and width of a block; one number sets scale and aspect."""
    cells = int(grid[0] * grid[1] * (scale[0] + u * (scale[1] - scale[0])))
    ratio = aspect[0] + u * (aspect[1] - aspect[0])
    height, width = round(math.sqrt(cells * ratio)), round(math.sqrt(cells / ratio))
    return min(height, grid[0] - 1), min(width, grid[1] - 1)

# SPDX-License-Identifier: Apache-2.0
"""Random subsets of an unordered set of tokens: T-JEPA's masking of table columns (arXiv 2410.05016).

Per batch a context length and a target length; per sample one random context and M random target
sets from the other tokens. Targets may overlap each other, never the context.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.core.masking.base import Masks, MaskSampler
from conjoin.core.masking.cells import check_count, check_grid, check_range, draw, stream
from conjoin.core.random import permutation

__all__ = ("SubsetMask",)

_ATTEMPTS = 32


@dataclass(frozen=True)
class SubsetMask(MaskSampler):
    """A random context and M random target sets outside it; the shares are T-JEPA's for Jannis.

    Args:
        targets: Target sets M.
        context_share: Range of the context's share of the tokens.
        target_share: Range of each target set's share.

    Raises:
        ValueError: For a value out of its range.
    """

    targets: int = 4
    context_share: tuple[float, float] = (0.136, 0.368)
    target_share: tuple[float, float] = (0.156, 0.622)

    def __post_init__(self) -> None:
        check_count(self, "targets", self.targets, 1)
        check_range(self, "context_share", self.context_share, most=1.0)
        check_range(self, "target_share", self.target_share, most=1.0)

    def check(self, grid: tuple[int, ...]) -> None:
        """Refuse a number of tokens in which even the smallest shares do not fit beside each other."""
        check_grid(self, grid)
        cells = math.prod(grid)
        context, target = _length(cells, self.context_share, 0.0), _length(cells, self.target_share, 0.0)
        if context + target > cells:
            raise ValueError(
                f"SubsetMask: masks cannot fit in {cells} tokens: the smallest context has {context} and the "
                f"smallest target {target}; lower context_share or target_share."
            )

    def __call__(self, grid: tuple[int, ...], keys: Tensor, step_key: int) -> Masks:
        """Draw one batch; see :class:`~conjoin.core.masking.base.MaskSampler`."""
        cells = math.prod(grid)
        seen, hidden = self._lengths(grid, step_key)
        order = permutation(stream(keys, "context subset"), cells)
        rest = order[:, None, seen:].expand(-1, self.targets, -1)
        sets = stream(keys, "target subset").unsqueeze(-1) + torch.arange(self.targets, device=keys.device)
        chosen = permutation(stream(sets, "target set"), cells - seen)[..., :hidden]
        return Masks(order[:, :seen].sort().values, rest.gather(-1, chosen).sort().values)

    def _lengths(self, grid: tuple[int, ...], step_key: int) -> tuple[int, int]:
        """Context and target length: drawn until both fit, the smallest ones after too many draws."""
        cells = math.prod(grid)
        numbers = draw(step_key, "subset lengths", 2 * _ATTEMPTS)
        for u, v in zip(numbers[::2], numbers[1::2], strict=True):
            seen, hidden = _length(cells, self.context_share, u), _length(cells, self.target_share, v)
            if seen + hidden <= cells:
                return seen, hidden
        self.check(grid)
        return _length(cells, self.context_share, 0.0), _length(cells, self.target_share, 0.0)


def _length(cells: int, share: tuple[float, float], number: float) -> int:
    """A length between the rounded bounds of the share, at least 1."""
    low, high = (round(cells * bound) for bound in share)
    return max(1, round(low + number * (high - low)))

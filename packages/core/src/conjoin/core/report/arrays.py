# SPDX-License-Identifier: Apache-2.0
"""Drawing what nobody said how to draw: numbers as shades, tokens as coloured cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conjoin.core.masking import Masks
from conjoin.core.report.gallery import BLOCKS, Panel, enlarge

__all__ = ("ArrayArtist",)

_MOST = 384  # rows or columns of a picture
_SEEN, _NEITHER = (40, 46, 54), (208, 212, 217)


@dataclass(frozen=True)
class ArrayArtist:
    """Draws samples of any shape on a token grid of any number of axes."""

    def draw(self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]) -> list[Panel]:
        """The numbers, dark for small and bright for large ones; the tokens by what the masks say of them."""
        x = sample["x"].detach().float().cpu()
        values = x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
        told = " x ".join(map(str, x.shape)) or "1"
        panels = [Panel(f"values ({told})", f"the {told} numbers of the sample as shades", _shades(values))]
        if masks is not None:
            panels.append(
                Panel(
                    "tokens: dark seen, coloured to predict",
                    f"{len(masks.context[0])} of {int(np.prod(grid))} tokens seen, "
                    f"{masks.targets.shape[1]} sets to predict, each in its colour",
                    _tokens(masks, grid),
                )
            )
        return panels


def _shades(values: Tensor) -> NDArray[np.uint8]:
    """Grey pixels with alpha, transparent where a number is not finite."""
    rows, columns = (np.unique(np.linspace(0, n - 1, min(n, _MOST)).astype(int)) for n in values.shape)
    shown = values.numpy()[np.ix_(rows, columns)]
    finite = np.isfinite(shown)
    low, high = np.percentile(shown[finite], (0.5, 99.5)) if finite.any() else (0.0, 1.0)
    scaled = np.clip((np.where(finite, shown, low) - low) / max(float(high - low), 1e-8), 0, 1)
    grey = (255 * scaled).round().astype(np.uint8)
    alpha = np.where(finite, 255, 0).astype(np.uint8)
    return enlarge(np.stack([grey, grey, grey, alpha], axis=-1))


def _tokens(masks: Masks, grid: tuple[int, ...]) -> NDArray[np.uint8]:
    """One cell per token, the last axis of the grid from left to right."""
    cells = np.full((int(np.prod(grid)), 3), _NEITHER, np.uint8)
    for place, index in enumerate(masks.targets[0]):
        valid = None if masks.targets_valid is None else masks.targets_valid[0, place]
        cells[(index if valid is None else index[valid]).numpy()] = BLOCKS[place % len(BLOCKS)]
    seen = masks.context[0]
    cells[(seen if masks.context_valid is None else seen[masks.context_valid[0]]).numpy()] = _SEEN
    return enlarge(cells.reshape(-1, grid[-1], 3))

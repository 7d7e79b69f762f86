# SPDX-License-Identifier: Apache-2.0
"""What nobody said how to draw."""

import numpy as np
import pytest
import torch

from conjoin.core.masking import Masks
from conjoin.core.report import ArrayArtist
from conjoin.core.report.arrays import _NEITHER, _SEEN
from conjoin.core.report.gallery import BLOCKS


@pytest.mark.parametrize("shape", [(), (7,), (3, 50), (2, 3, 4, 5), (2000, 3)])
def test_any_shape_is_drawn(shape: tuple[int, ...]) -> None:
    x = torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape)
    (panel,) = ArrayArtist().draw({"x": x}, None, (4,))
    rows, columns = panel.pixels.shape[:2]
    assert max(rows, columns) >= 192
    assert panel.pixels.dtype == np.uint8
    if x.numel() > 1:
        assert panel.pixels[..., 0].max() == 255  # bright for the largest
        assert panel.pixels[0, 0, 0] == 0  # dark for the smallest
        assert panel.pixels[-1, -1, 0] == 255


def test_numbers_that_are_not_finite_are_holes() -> None:
    x = torch.tensor([[0.0, float("nan"), 1.0, float("inf")]])
    (panel,) = ArrayArtist().draw({"x": x}, None, (4,))
    step = panel.pixels.shape[1] // 4
    assert [int(panel.pixels[0, n * step, 3]) for n in range(4)] == [255, 0, 255, 0]
    (panel,) = ArrayArtist().draw({"x": torch.full((3,), float("nan"))}, None, (4,))
    assert panel.pixels[..., 3].max() == 0


def test_tokens_are_coloured_by_the_masks() -> None:
    masks = Masks(
        torch.tensor([[0, 5, 1]]),
        torch.tensor([[[2, 3], [3, 0]]]),
        torch.tensor([[True, True, False]]),
        torch.tensor([[[True, True], [True, False]]]),
    )
    _, tokens = ArrayArtist().draw({"x": torch.zeros(6)}, masks, (2, 3))
    step = tokens.pixels.shape[1] // 3
    cells = tokens.pixels[::step, ::step].reshape(6, 3)
    found = [tuple(cell) for cell in cells.tolist()]
    # Token 3 is in both sets: the later one is on top. Padding (1 in the context, 0 in a set) is not drawn.
    assert found == [_SEEN, _NEITHER, BLOCKS[0], BLOCKS[1], _NEITHER, _SEEN]
    assert "2 sets to predict" in tokens.alt

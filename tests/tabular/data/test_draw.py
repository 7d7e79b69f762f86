# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.core.masking import Masks
from conjoin.core.report.gallery import SampleArtist, artist_of
from conjoin.tabular import EmbeddedTable, Schema, Table
from conjoin.tabular.data.draw import colours, strips


@pytest.fixture
def schema():
    kinds = np.array(["a", "b", "c", "a"], object)
    return Schema.fit(
        Table({"n": np.array([-1.0, 1, -1, 1]), "m": np.array([0.0, 1, np.nan, 2]), "kind": kinds})
    )


def test_colours_tell_low_high_missing_and_kinds_apart(schema):
    def cell(*row):
        return colours(torch.tensor(row), schema)

    low, high = cell(-2.0, 0.0, 0.0)[0], cell(2.0, 0.0, 0.0)[0]
    assert low[2] > low[0]  # blue
    assert high[0] > high[2]  # orange
    assert np.array_equal(cell(-9.0, 0.0, 0.0)[0], low)
    assert cell(0.0, 0.0, 0.0)[0].tolist() == [236, 236, 236]
    assert cell(0.0, float("nan"), 0.0)[1].tolist() == [0, 0, 0]
    assert len({tuple(cell(0.0, 0.0, float(code))[2]) for code in range(4)}) == 4


def test_strips_show_what_the_masks_do(schema):
    x = torch.tensor([2.0, 0.5, 1.0])
    masks = Masks(torch.tensor([[0, 1]]), torch.tensor([[[2], [3]]]))  # register and n; m and kind
    row, context, targets = strips(x, schema, masks, (4,))
    size = 18
    assert row.pixels.shape == (size, 3 * size, 4)
    assert targets.pixels.shape == (2 * size, 3 * size, 4)

    def visible(pixels):
        return (pixels[::size, ::size, 3] > 0).tolist()

    assert visible(row.pixels) == [[True] * 3]
    assert visible(context.pixels) == [[True, False, False]]
    assert visible(targets.pixels) == [[False, True, False], [False, False, True]]
    assert context.alt.endswith(": n")
    assert [panel.caption.split(":")[0] for panel in strips(x, schema, None, (4,))] == ["row"]
    # Without a register token numbers and columns agree.
    plain = Masks(torch.tensor([[0, 1]]), torch.tensor([[[2]]]))
    assert visible(strips(x, schema, plain, (3,))[1].pixels) == [[True, True, False]]


def test_the_report_finds_the_artist():
    data = EmbeddedTable("credit")
    assert isinstance(data, SampleArtist)
    assert artist_of(None, data, {"x": None}, (1,)) is data
    sample = data.build("val")[0]
    assert data.draw(sample, None, (14,))[0].pixels.shape[1] == 13 * 18

# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core import random
from conjoin.core.nn import RotaryPositions
from conjoin.core.nn.rotary import rotate


@pytest.mark.parametrize(("grid", "head_dim"), [((9,), 8), ((4, 5), 10), ((2, 3, 4), 16)])
def test_rotary_products_depend_on_differences_only(grid, head_dim):
    with random.seeded(0):
        q, k = torch.randn(2, head_dim, dtype=torch.float64)
        rotary = RotaryPositions(grid, head_dim, dtype=torch.float64)
    cells = math.prod(grid)
    turned_q = rotate(q.expand(1, 1, cells, -1), rotary())[0, 0]
    turned_k = rotate(k.expand(1, 1, cells, -1), rotary())[0, 0]
    places = torch.cartesian_prod(*[torch.arange(size) for size in grid]).view(cells, -1)
    seen = {}
    for i in range(cells):
        for j in range(cells):
            difference = tuple((places[i] - places[j]).tolist())
            value = (turned_q[i] @ turned_k[j]).item()
            assert seen.setdefault(difference, value) == pytest.approx(value, abs=1e-9)
    assert len({round(value, 6) for value in seen.values()}) > len(seen) // 2


def test_rotary_keep_picks_rows_and_widths_are_guarded():
    rotary = RotaryPositions((3, 3), 8)
    keep = torch.tensor([[0, 4], [8, 1]])
    assert torch.equal(rotary(keep)[0][1, 0], rotary.cos[8])
    assert "cos" not in rotary.state_dict()
    with pytest.raises(ValueError, match="even head width of at least 4"):
        RotaryPositions((3, 3), 7)

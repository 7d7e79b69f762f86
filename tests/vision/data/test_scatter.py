# SPDX-License-Identifier: Apache-2.0
"""Scattered garments: properties that hold whatever the defaults are."""

import pytest
import torch

from conjoin.core import random
from conjoin.vision.data.scatter import scatter

PLAIN = {"fragments": 0, "levels": (0, 1), "noise": 0.0}  # nothing but the picture


def pictures(count, rows=12, columns=10, seed=0):
    """Bright pixels on black, a black margin of one pixel."""
    made = torch.randint(1, 256, (count, rows, columns), generator=torch.Generator().manual_seed(seed))
    made[:, [0, -1]] = 0
    made[:, :, [0, -1]] = 0
    return made.to(torch.uint8)


def keys(count, epoch=0):
    return random.fold(random.key(3, "scatter", epoch), torch.arange(count))


@pytest.fixture
def pool():
    return pictures(20, 28, 28, seed=1)


def test_shape_type_and_determinism(pool):
    garments = pictures(5)
    out = scatter(garments, keys(5), pool, 48)
    assert out.shape == (5, 48, 48)
    assert out.dtype == torch.uint8
    state = torch.random.get_rng_state()
    assert torch.equal(out, scatter(garments, keys(5), pool, 48))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_row_depends_on_its_own_picture_and_key_only(pool):
    garments = pictures(7)
    whole = scatter(garments, keys(7), pool, 48)
    alone = torch.cat([scatter(garments[i : i + 1], keys(7)[i : i + 1], pool, 48) for i in range(7)])
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    assert torch.equal(alone, whole)
    assert torch.equal(scatter(garments[order], keys(7)[order], pool, 48), whole[order])


def test_another_key_is_another_canvas(pool):
    garments = pictures(3)
    first, second = (scatter(garments, keys(3, epoch), pool, 48) for epoch in (1, 2))
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_garment_lies_wholly_inside_at_its_size(pool):
    """With nothing behind it, a solid square is found again whole: its side within the asked range."""
    solid = torch.full((64, 10, 10), 200, dtype=torch.uint8)
    out = scatter(solid, keys(64), pool, 32, scale=(0.8, 1.6), **PLAIN)
    corners = set()
    for canvas in out:
        rows, columns = canvas.amax(1).nonzero().flatten(), canvas.amax(0).nonzero().flatten()
        tall, wide = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert 8 <= tall == wide <= 16
        # A part cut off would leave fewer pixels than a square of these sides.
        assert int((canvas > 0).sum()) == tall * wide
        assert int(canvas.max()) == 200
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 40


def test_the_clutter_lies_behind_the_garment(pool):
    """Opaque pictures hide the fragments; outside them the canvas differs."""
    solid = torch.full((16, 10, 10), 200, dtype=torch.uint8)
    bare = scatter(solid, keys(16), pool, 48, scale=(1.6, 1.6), **PLAIN)
    cluttered = scatter(solid, keys(16), pool, 48, scale=(1.6, 1.6), **(PLAIN | {"fragments": 6}))
    covered = bare == 200
    assert torch.equal(cluttered[covered], bare[covered])
    assert (cluttered != bare).flatten(1).any(1).all()


def test_background_and_noise_stay_in_their_ranges(pool):
    nothing = torch.zeros(8, 10, 10, dtype=torch.uint8)
    smooth = scatter(nothing, keys(8), pool, 32, fragments=0, levels=(20, 60), noise=0.0)
    assert 20 <= int(smooth.min()) <= int(smooth.max()) <= 60
    rough = scatter(nothing, keys(8), pool, 32, fragments=0, levels=(20, 60), noise=8.0)
    change = (rough.int() - smooth.int()).abs()
    assert 0 < int(change.max()) <= 9
    steps = (smooth[:, 1:].int() - smooth[:, :-1].int()).abs()
    assert int(steps.max()) <= 5  # four knots over 32 rows: at most 40 levels in ten rows


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"garments": torch.zeros(2, 8, 8)}, "garments must be uint8"),
        ({"pool": torch.zeros(8, 8, dtype=torch.uint8)}, "pool must be uint8"),
        ({"keys": torch.zeros(3, dtype=torch.int64)}, r"keys must be int64 \(2,\)"),
        ({"keys": torch.zeros(2)}, r"keys must be int64 \(2,\)"),
        ({"scale": (0.5, 9.0)}, "for a canvas of 32"),
        ({"scale": (1.5, 0.5)}, "for a canvas of 32"),
        ({"fragment_size": (5, 40)}, "do not fit pool"),
        ({"fragment_size": (0, 4)}, "do not fit pool"),
        ({"pool": torch.zeros(0, 28, 28, dtype=torch.uint8)}, "do not fit pool"),
    ],
)
def test_guards(pool, change, words):
    arguments = {"garments": pictures(2), "keys": keys(2), "pool": pool, "size": 32} | change
    with pytest.raises(ValueError, match=words):
        scatter(**arguments)

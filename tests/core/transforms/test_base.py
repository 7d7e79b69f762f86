# SPDX-License-Identifier: Apache-2.0
"""Views: which sample, view and place a draw belongs to, and nothing else."""

import pytest
import torch

from conjoin.core import random, spec
from conjoin.core.transforms import (
    Blur,
    ChannelDropout,
    Crop,
    Flip,
    Noise,
    Scale,
    SpanDropout,
    ViewGroup,
    Views,
    Window,
)
from conjoin.core.transforms.base import Transform, chance

ALL = [
    Crop((0.2, 0.8)),
    Flip(0.5),
    Scale((0.5, 2.0), per_channel=True),
    Noise(0.3, p=0.5),
    Blur((0.5, 1.5)),
    ChannelDropout(0.5),
    SpanDropout(),
]
SHAPES = {"signal": (6, 3, 40), "picture": (6, 3, 12, 16), "volume": (6, 2, 6, 8, 10)}


def keys(count=6, epoch=0):
    return random.fold(random.key(3, "views", epoch), torch.arange(count))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("transform", ALL, ids=lambda transform: type(transform).__name__)
def test_a_row_depends_on_its_key_alone(transform, shape):
    x = torch.randn(shape)
    before = x.clone()
    whole = transform(x, keys())
    assert torch.equal(x, before)
    assert whole.shape == x.shape
    assert not torch.equal(whole, x)
    assert not torch.equal(whole, transform(x, keys(epoch=1)))
    pick = torch.tensor([4, 1])
    torch.testing.assert_close(transform(x[pick], keys()[pick]), whole[pick])


def test_views_differ_from_each_other_and_are_repeated_exactly():
    views = Views([ViewGroup(2, [Crop(), Noise()]), ViewGroup(3, [Crop((0.1, 0.2), size=6)])])
    x = torch.randn(6, 1, 12, 12)
    first, again = views(x, keys()), views(x, keys())
    assert views.count == len(first) == 5
    assert [tuple(view.shape) for view in first] == 2 * [(6, 1, 12, 12)] + 3 * [(6, 1, 6, 6)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[2], first[3])


def test_two_transforms_of_a_chain_draw_differently():
    x = torch.zeros(6, 1, 50)
    once = Views([ViewGroup(1, [Noise(1.0)])])(x, keys())[0]
    twice = Views([ViewGroup(1, [Noise(1.0), Noise(1.0)])])(x, keys())[0]
    assert twice.std() == pytest.approx(2**0.5 * once.std().item(), rel=0.15)


def test_nothing_is_asked_of_a_generator_and_no_graph_is_built():
    x = torch.randn(6, 2, 30, requires_grad=True)
    state = torch.random.get_rng_state()
    out = Views([ViewGroup(1, ALL)])(x, keys())[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not out.requires_grad


def test_full_precision_inside_autocast():
    x = torch.randn(6, 2, 30)
    views = Views([ViewGroup(1, [Crop()])])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = views(x, keys())[0]
    assert torch.equal(inside, views(x, keys())[0])


def test_views_describe_themselves():
    views = Views([ViewGroup(2, [Crop((0.2, 0.9)), Flip()]), ViewGroup(1, [SpanDropout()])])
    assert spec.build(spec.describe(views)) == views


def test_chance_is_the_probability():
    many = random.fold(1, torch.arange(4000))
    for p in (0.0, 0.2, 1.0):
        chosen = chance(many, p, torch.zeros(4000, 1, 1))
        assert chosen.shape == (4000, 1, 1)
        assert chosen.float().mean().item() == pytest.approx(p, abs=0.03)


def test_a_transform_of_ones_own_is_a_small_class():
    class Negate(Transform):
        def __call__(self, x, keys):
            return -x

    x = torch.randn(6, 1, 4)
    assert torch.equal(Views([ViewGroup(1, [Negate()])])(x, keys())[0], -x)


def test_refusals():
    with pytest.raises(ValueError, match="at least one group"):
        Views([])
    with pytest.raises(ValueError, match="at least one view, not 0"):
        ViewGroup(0)
    with pytest.raises(ValueError, match=r"p is a probability in \[0, 1\], not 1.5"):
        Flip(1.5)
    with pytest.raises(ValueError, match=r"scale must be two ascending numbers in \(0, 1\]"):
        Crop((0.0, 1.0))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_places_say_where_a_view_was_cut(shape):
    views = Views(
        [ViewGroup(2, [Crop((0.2, 0.6)), Noise(), Flip(0.5)]), ViewGroup(1, [Crop((0.3, 0.5), size=5)])]
    )
    # Channels that are their own coordinates come out of the views as the places do.
    axes = [torch.arange(length, dtype=torch.float32) for length in shape[2:]]
    x = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(shape[0], -1, *shape[2:])
    places = views.places(torch.randn(shape), keys())
    for place, view, noisy in zip(places, views(x, keys()), (True, True, False), strict=True):
        assert place.shape[:2] == (shape[0], len(axes))
        assert place.shape == view.shape
        if noisy:
            assert (place - view).abs().mean() < 0.2  # the noise alone
        else:
            torch.testing.assert_close(place, view)
        assert (place >= 0).all()
        assert all((place[:, axis] <= length - 1).all() for axis, length in enumerate(shape[2:]))


def test_places_follow_a_window_and_a_flip_cell_by_cell():
    x = torch.randn(6, 2, 20)
    views = Views([ViewGroup(2, [Scale((0.5, 2.0)), Window(7), Flip(0.5)])])
    plain = Views([ViewGroup(2, [Scale((1.0, 1.0)), Window(7), Flip(0.5)])])
    for place, view in zip(views.places(x, keys()), plain(x, keys()), strict=True):
        found = x.gather(2, place.long().expand(-1, 2, -1))
        assert torch.equal(found, view)

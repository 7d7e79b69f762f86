# SPDX-License-Identifier: Apache-2.0
"""VICRegL as a system: where tokens lie, what is compared, and what is refused."""

import pytest
import torch
from torch import nn

from conjoin.core.methods import Head, LocalRedundancyReduction, RedundancyReduction
from conjoin.core.methods.local_redundancy_reduction import framed_places, token_grid, token_places
from conjoin.core.objectives import VICReg, VICRegL
from conjoin.core.transforms import Crop, Flip, Noise, ViewGroup, Views


class Cells(nn.Module):
    """Every four by four cells (or four, on a line) are a token: their mean over each channel, mapped."""

    embed_dim = 6

    def __init__(self, channels=1, axes=2):
        super().__init__()
        self.pool = nn.AvgPool1d(4) if axes == 1 else nn.AvgPool2d(4)
        self.linear = nn.Linear(channels, 6)

    def forward(self, x, keep=None):
        return self.linear(self.pool(x).flatten(2).transpose(1, 2))


def batch(*shape, rows=5):
    return {"x": torch.randn(rows, *shape), "index": torch.arange(rows)}


def system(encoder, objective, views, **options):
    return LocalRedundancyReduction(
        encoder, objective, Head(8, 8), Head(7, 7), views=Views(views), seed=0, **options
    )


@pytest.mark.parametrize(
    ("size", "tokens", "grid", "expected"),
    [
        ((64, 64), 64, None, (8, 8)),
        ((30, 30), 16, None, (4, 4)),  # a CNN rounds up
        ((32, 64), 8, None, (2, 4)),
        ((400,), 40, None, (40,)),
        ((8, 16, 16), 32, None, (2, 4, 4)),
        ((64, 64), 32, (4, 8), (4, 8)),  # patches that are not square: the encoder knows
        ((64, 64), 16, (8, 8), (4, 4)),  # a smaller view than the encoder's own
    ],
)
def test_token_grids(size, tokens, grid, expected):
    assert token_grid(size, tokens, grid) == expected


def test_tokens_that_are_no_grid():
    with pytest.raises(ValueError, match=r"A view of \(64, 64\) became 65 tokens, which are no grid"):
        token_grid((64, 64), 65)


@pytest.mark.parametrize(("size", "grid"), [((8,), (2,)), ((8, 12), (2, 3)), ((4, 8, 8), (1, 2, 2))])
def test_tokens_lie_in_the_middle_of_their_cells(size, grid):
    axes = torch.meshgrid(*(torch.arange(float(length)) for length in size), indexing="ij")
    middles = [torch.arange(count) * 4 + 1.5 for count in grid]
    expected = torch.stack([m.flatten() for m in torch.meshgrid(*middles, indexing="ij")], dim=1)
    torch.testing.assert_close(token_places(torch.stack(axes)[None], grid)[0], expected)


def test_the_loss_is_that_of_embeddings_maps_and_places():
    groups = [ViewGroup(2, [Crop((0.3, 1.0)), Flip(), Noise()]), ViewGroup(2, [Crop((0.1, 0.3), size=8)])]
    objective = VICRegL(matches=(5, 2))
    for together in (False, True):
        model = system(Cells(), objective, groups, together=together)
        data = batch(1, 16, 16)
        views = model.make_views(data)
        tokens = [model.encoder(view) for view in views]
        cells = model.views.places(data["x"], model.sample_keys(data, "views"))
        sides = (4, 4, 2, 2)
        places = [
            each.unflatten(2, (side, 4)).unflatten(4, (side, 4)).mean((3, 5)).flatten(2).mT
            for each, side in zip(cells, sides, strict=True)
        ]
        own = model._places(views, tokens, data)
        for found, place in zip(own, places, strict=True):
            torch.testing.assert_close(found, place)
        both = [torch.cat(tokens[:2]), torch.cat(tokens[2:])] if together else tokens
        features = [each.mean(1) for each in tokens]
        z = [model.projector(each) for each in ([torch.cat(features)] if together else features)]
        z = z[0].chunk(4) if together else z
        local = [model.local_projector(each.flatten(0, 1)).view(*each.shape[:2], 7) for each in both]
        maps = [half for each in local for half in each.chunk(2)] if together else local
        expected = objective(z, maps, own)  # matches of equal distance are a matter of rounding
        out = model.step(data)
        torch.testing.assert_close(out.loss, expected.loss)
        assert out.terms.keys() == expected.terms.keys()
        out.loss.backward()
        assert all(p.grad is not None for p in model.parameters())


def test_views_that_look_at_one_place_match_it_with_itself():
    # Nothing moves and nothing is mirrored: the place of each token is its own in the other view.
    model = system(Cells(), VICRegL(alpha=0.0, matches=(16, 16)), [ViewGroup(2, [Noise(0.0)])])
    data = batch(1, 16, 16)
    tokens = [model.encoder(view) for view in model.make_views(data)]
    first, second = model._places(model.make_views(data), tokens, data)
    torch.testing.assert_close(first, second)
    out = model.eval().step(data)
    assert out.terms["local_invariance"] == 0
    assert out.terms["global_invariance"] == 0


def test_frames_give_the_places_of_tokens():
    # The second picture is cut from (10, 4) with steps of 2 and 0.5, its columns turned around.
    frames = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[10.0, 2.0], [11.5, -0.5]]])
    rows, columns = (torch.arange(8.0), torch.arange(16.0))
    cells = torch.stack(
        [
            torch.stack(torch.meshgrid(rows, columns, indexing="ij")),
            torch.stack(torch.meshgrid(10 + 2 * rows, 11.5 - 0.5 * columns, indexing="ij")),
        ]
    )
    torch.testing.assert_close(framed_places(frames, (8, 16), (2, 4)), token_places(cells, (2, 4)))


def test_views_from_the_workers_match_by_their_frames():
    model = system(Cells(), VICRegL(matches=(16, 16)), [ViewGroup(2, [Noise(0.0)])])
    data = batch(1, 16, 16)
    frames = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).expand(5, 2, 2)
    given = {**data, "views": [data["x"], data["x"]], "frames": [frames, frames]}
    torch.testing.assert_close(model.step(given).loss, model.step(data).loss)


def test_signals():
    model = system(Cells(3, 1), VICRegL(matches=(3, 2)), [ViewGroup(2, [Crop((0.5, 1.0))])])
    out = model.step(batch(3, 40))
    assert torch.isfinite(out.loss)


def test_what_is_refused():
    with pytest.raises(ValueError, match="VICReg compares no maps: use RedundancyReduction"):
        LocalRedundancyReduction(Cells(), VICReg(), seed=0)
    with pytest.raises(ValueError, match=r"VICRegL compares maps .*: use LocalRedundancyReduction"):
        RedundancyReduction(Cells(), VICRegL(), seed=0)
    model = LocalRedundancyReduction(Cells(), seed=0)
    data = batch(1, 16, 16)
    with pytest.raises(ValueError, match="must know where views were cut"):
        model.step({**data, "views": [data["x"], data["x"]]})

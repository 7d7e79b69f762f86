# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core import random
from conjoin.vision.predictor import SeparablePredictor


def made(dim=6, grid=(4, 5), **options):
    with random.seeded(0):
        return SeparablePredictor(dim, grid, **options)


def test_size_of_the_paper():
    with torch.device("meta"):
        predictor = SeparablePredictor(2048, (7, 7))
    assert sum(p.numel() for p in predictor.layers.parameters()) == 12_662_784
    assert predictor.mask_token.shape == (1, 2048, 1, 1)


def test_mask_token_is_cut_at_one_deviation():
    predictor = made(2048)
    assert predictor.mask_token.abs().max() <= 0.02
    assert predictor.mask_token.std() > 0.009
    before = predictor.mask_token.clone()
    predictor.reset_parameters()
    assert not torch.equal(before, predictor.mask_token)


def test_context_keeps_its_place_and_the_token_fills_the_rest():
    predictor = made()
    context = torch.randn(2, 3, 6)
    index = torch.tensor([[0, 7, 19], [3, 4, 4]])
    valid = torch.tensor([[True] * 3, [True, True, False]])
    canvas = predictor.fill(context, index, valid)
    for b in range(2):
        here = {int(i): context[b, k] for k, i in enumerate(index[b]) if valid[b, k]}
        for cell in range(20):
            expected = here.get(cell, predictor.mask_token.flatten())
            torch.testing.assert_close(canvas[b, :, cell // 5, cell % 5], expected)


def test_predictions_are_read_off_the_map():
    predictor = made().eval()
    context, index = torch.randn(2, 3, 6), torch.tensor([[0, 7, 19], [3, 4, 5]])
    target = torch.tensor([[[1, 18]], [[0, 19]]])
    layers = predictor.layers(predictor.fill(context, index))
    found = predictor(context, index, target)
    assert found.shape == (2, 1, 2, 6)
    torch.testing.assert_close(found[0, 0, 1], layers[0, :, 3, 3])
    torch.testing.assert_close(found[1, 0, 0], layers[1, :, 0, 0])
    assert (found >= 0).all()


@pytest.mark.parametrize(("depth", "kernel", "reach"), [(1, 3, 1), (3, 3, 3), (2, 5, 4)])
def test_receptive_field(depth, kernel, reach):
    """A prediction in the middle of 9 x 9 depends on cells within ``depth * (kernel - 1) / 2``, no other."""
    predictor = made(4, (9, 9), depth=depth, kernel=kernel).double().eval()
    everything = torch.arange(81)[None]
    context = torch.randn(1, 81, 4, dtype=torch.float64, requires_grad=True)
    layers = [layer for layer in predictor.layers if not isinstance(layer, torch.nn.ReLU)]
    predictor.layers = torch.nn.Sequential(*layers)  # a dead unit would hide a path
    predictor(context, everything, torch.tensor([[[40]]])).sum().backward()
    seen = context.grad.abs().sum(-1).view(9, 9) > 0
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
    assert torch.equal(seen, expected)


def test_on_the_papers_grid_every_cell_sees_the_middle():
    predictor = made(4, (7, 7)).double().eval()
    predictor.layers = torch.nn.Sequential(*[m for m in predictor.layers if not isinstance(m, torch.nn.ReLU)])
    context = torch.randn(1, 49, 4, dtype=torch.float64, requires_grad=True)
    for cell in range(49):
        context.grad = None
        predictor(context, torch.arange(49)[None], torch.tensor([[[cell]]])).sum().backward()
        assert context.grad[0, 24].abs().sum() > 0


def test_gradient_reaches_context_and_token():
    predictor = made()
    context = torch.randn(2, 3, 6, requires_grad=True)
    index, target = torch.tensor([[0, 7, 19], [3, 4, 5]]), torch.tensor([[[1, 18]], [[9, 11]]])
    predictor(context, index, target).square().sum().backward()
    assert predictor.mask_token.grad.abs().sum() > 0
    assert context.grad.abs().sum() > 0


def test_norm_of_convnext():
    kinds = [type(layer).__name__ for layer in made(norm="layer").layers]
    assert kinds[:4] == ["Conv2d", "Conv2d", "LayerNorm2d", "ReLU"]
    assert len(kinds) == 12


def test_guards():
    with pytest.raises(ValueError, match="depth is 0"):
        made(depth=0)
    with pytest.raises(ValueError, match="kernel is 4; it must be odd"):
        made(kernel=4)

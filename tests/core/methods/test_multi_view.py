# SPDX-License-Identifier: Apache-2.0
"""What the families share: where views come from, and how they are encoded."""

import pytest
import torch
from torch import nn

from conjoin.core import spec
from conjoin.core.methods import (
    Contrastive,
    Head,
    MaskedSelfDistillation,
    RedundancyReduction,
    SelfDistillation,
)
from conjoin.core.methods.multi_view import takes
from conjoin.core.objectives import BYOL, DINO, IBOT, NTXent, SupCon, SwAV, TiCo
from conjoin.core.spec import SelfDescribing
from conjoin.core.transforms import Crop, ViewGroup, Views


class Patches(nn.Module):
    """An encoder that can hide patches, for constructors."""

    embed_dim = 5
    grid = (4, 4)

    def forward(self, x, keep=None, hide=None):
        return x


class Pixels(SelfDescribing, nn.Module):
    """Tokens are cells, seen through one linear layer and a batch norm; any number of axes."""

    embed_dim = 8

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 8)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x, keep=None):
        tokens = torch.relu(self.linear(x.flatten(2).transpose(1, 2)))
        return self.norm(tokens.transpose(1, 2)).transpose(1, 2)


def batch(size=6, **extra):
    x = torch.sin(torch.arange(size * 64.0)).view(size, 1, 8, 8)
    return {"x": x, "index": torch.arange(size), "label": torch.arange(size) % 3, **extra}


@pytest.mark.parametrize("shape", [(6, 2, 30), (6, 2, 8, 8), (6, 2, 4, 4, 4)])
@pytest.mark.parametrize("family", [Contrastive, RedundancyReduction, SelfDistillation])
def test_any_modality_with_defaults(family, shape):
    model = family(Pixels(2), seed=0)
    out = model.step({"x": torch.randn(shape), "index": torch.arange(6)})
    out.loss.backward()
    assert out.embedding.shape == (6, 8)
    assert not out.embedding.requires_grad
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_views_are_a_function_of_sample_and_epoch():
    model = Contrastive(Pixels(), seed=0)
    whole = model.make_views(batch())
    part = model.make_views({name: value[[4, 2]] for name, value in batch().items()})
    for one, other in zip(whole, part, strict=True):
        torch.testing.assert_close(one[[4, 2]], other)
    again = Contrastive(Pixels(), seed=1).make_views(batch())
    assert not torch.equal(whole[0], again[0])


def test_views_of_the_batch_come_first():
    given = [torch.randn(6, 1, 8, 8), torch.randn(6, 1, 5, 5)]
    model = Contrastive(Pixels(), seed=0)
    found = model.make_views(batch(views=given))
    assert all(a is b for a, b in zip(found, given, strict=True))
    assert model.step(batch(views=given)).loss.isfinite()


@pytest.mark.parametrize("together", [True, False])
def test_batch_norms_see_views_together_or_one_by_one(together):
    views = Views([ViewGroup(2, [Crop()]), ViewGroup(2, [Crop(size=4)])])
    model = Contrastive(Pixels(), projector=Head(layers=0), views=views, together=together, seed=0)
    made = model.make_views(batch())
    calls = []
    model.encoder.register_forward_pre_hook(lambda module, args: calls.append(tuple(args[0].shape)))
    features = model.pooled(model.encoder, made)
    sizes = [(6, 1, 8, 8), (6, 1, 8, 8), (6, 1, 4, 4), (6, 1, 4, 4)]
    assert calls == ([(12, 1, 8, 8), (12, 1, 4, 4)] if together else sizes)
    groups = [torch.cat(made[:2]), torch.cat(made[2:])] if together else made
    expected = torch.cat([model.encoder(group).mean(1) for group in groups])
    torch.testing.assert_close(torch.cat(features), expected)


def test_heads_start_from_the_seed_alone():
    torch.manual_seed(0)
    first = Contrastive(Pixels(), seed=4)
    torch.manual_seed(1)
    second, third = Contrastive(Pixels(), seed=4), Contrastive(Pixels(), seed=5)
    assert torch.equal(first.projector.last.weight, second.projector.last.weight)
    assert not torch.equal(first.projector.last.weight, third.projector.last.weight)


def test_a_ready_projector_is_used_as_it_is():
    projector = nn.Linear(8, 3)
    assert Contrastive(Pixels(), projector=projector, seed=0).projector is projector


def test_described_and_rebuilt_with_objective_head_and_views():
    views = Views([ViewGroup(2, [Crop((0.5, 1.0))])])
    model = Contrastive(Pixels(), NTXent(0.3), Head(8, 4), views=views, seed=3)
    other = spec.build(spec.describe(model), trust=True)
    assert other.objective.temperature == 0.3
    assert other.views == views
    assert other.projector.last.weight.shape == (4, 8)


def test_embed_is_the_encoder_without_projector():
    model = Contrastive(Pixels(), seed=0).eval()
    torch.testing.assert_close(model.embed(batch()), model.encoder(batch()["x"]).mean(1))


def test_what_an_objective_takes():
    assert takes(BYOL(), "targets")
    assert takes(SupCon(), "labels")
    assert not takes(NTXent(), "targets")


@pytest.mark.parametrize(
    "objective", [DINO(64), IBOT(64), TiCo(64), SwAV(64, 32)], ids=lambda o: type(o).__name__
)
def test_projectors_fit_objectives_that_were_made_for_a_width(objective):
    """By themselves, and one that does not fit is refused before training."""
    bases = {"DINO": SelfDistillation, "TiCo": SelfDistillation, "SwAV": Contrastive}
    base = bases.get(type(objective).__name__, MaskedSelfDistillation)
    model = base(Patches(), objective, seed=0)
    assert model.projector(torch.randn(3, 5)).shape == (3, 64)
    with pytest.raises(
        ValueError, match=r"ends in 48 values and \w+ was made for 64: .* or the other dim=48"
    ):
        base(Patches(), objective, Head(out=48), seed=0)

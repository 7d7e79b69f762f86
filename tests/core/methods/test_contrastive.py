# SPDX-License-Identifier: Apache-2.0
"""Contrastive: what the objective is given, labels included."""

import pytest
import torch
from torch import nn

from conjoin.core.methods import Contrastive, Head, RedundancyReduction
from conjoin.core.objectives import BYOL, DCL, INTL, BarlowTwins, InfoNCE, NTXent, SupCon, SwAV, VICReg
from conjoin.core.objectives.supcon import supcon


class Rows(nn.Module):
    """A linear layer on a vector, as one token."""

    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x, keep=None):
        return self.linear(x.flatten(1)).unsqueeze(1)


def pair(label=None):
    views = [torch.randn(6, 4), torch.randn(6, 4)]
    found = {"x": views[0], "views": views, "index": torch.arange(6)}
    return found if label is None else {**found, "label": torch.tensor(label)}


@pytest.mark.parametrize("objective", [NTXent(0.2), DCL(), InfoNCE(), VICReg(), BarlowTwins()])
def test_the_objective_is_given_the_projections(objective):
    model, data = Contrastive(Rows(), objective, seed=0), pair()
    model.eval()
    z = [model.projector(model.encoder(view)[:, 0]) for view in data["views"]]
    torch.testing.assert_close(model.step(data).loss, objective(*z).loss)


def test_labels_reach_supcon_and_samples_without_one_stand_alone():
    model = Contrastive(Rows(), SupCon(), Head(layers=0), seed=0).eval()
    data = pair([0, 1, 0, -1, 1, -1])
    z = [model.encoder(view)[:, 0] for view in data["views"]]
    expected = supcon(z, torch.tensor([0, 1, 0, 7, 1, 8]), 0.07)
    torch.testing.assert_close(model.step(data).loss, expected)
    wrong = supcon(z, torch.tensor([0, 1, 0, 7, 1, 7]), 0.07)
    assert not torch.isclose(model.step(data).loss, wrong)
    torch.testing.assert_close(model.step(pair()).loss.isfinite(), torch.tensor(True))


def test_prototypes_are_trained_with_the_network():
    model = Contrastive(Rows(), SwAV(3, 7, freeze_steps=0), Head(8, 3), seed=0)
    assert model.objective in model.trainable()
    model.step(pair()).loss.backward()
    assert model.objective.prototypes.grad.abs().sum() > 0


def test_the_default_is_simclr():
    model = Contrastive(Rows(), seed=0)
    assert isinstance(model.objective, NTXent)
    assert model.projector.last.out_features == 128
    assert model.projector.last_norm.weight is not None
    assert model.projector.last_norm.bias is None


@pytest.mark.parametrize("family", [Contrastive, RedundancyReduction])
def test_objectives_with_targets_are_refused(family):
    with pytest.raises(ValueError, match="BYOL compares a student with targets: use SelfDistillation"):
        family(Rows(), BYOL())
    assert family(Rows(), INTL(), seed=0).step(pair()).loss.isfinite()

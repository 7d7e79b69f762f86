# SPDX-License-Identifier: Apache-2.0
"""Redundancy reduction: defaults, terms, and every objective of the family."""

import pytest
import torch
from torch import nn

from conjoin.core.methods import Head, RedundancyReduction
from conjoin.core.objectives import INTL, WMSE, BarlowTwins, LeJEPA, SIGReg, VICReg


class Rows(nn.Module):
    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x, keep=None):
        return self.linear(x.flatten(1)).unsqueeze(1)


def views(count=2, rows=8):
    made = [torch.randn(rows, 4) for _ in range(count)]
    return {"x": made[0], "views": made, "index": torch.arange(rows)}


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    "objective",
    [BarlowTwins(), VICReg(), INTL(), WMSE(eps=0.1), SIGReg(16), LeJEPA(slices=16, global_views=2)],
)
def test_the_objective_is_given_all_projections(objective, count):
    model, data = RedundancyReduction(Rows(), objective, Head(8, 3), seed=0), views(count)
    model.eval()
    z = torch.stack([model.projector(model.encoder(view)[:, 0]) for view in data["views"]])
    torch.testing.assert_close(model.step(data).loss, objective(z).loss)


def test_the_default_is_vicreg_with_four_times_the_width():
    model = RedundancyReduction(Rows(), seed=0)
    assert isinstance(model.objective, VICReg)
    shapes = [
        tuple(p.shape) for name, p in model.projector.named_parameters() if "linear" in name or "last" in name
    ]
    assert shapes == [(20, 5), (20,), (20, 20), (20,), (20, 20)]


def test_terms_are_logged_and_add_up():
    out = RedundancyReduction(Rows(), seed=0).step(views())
    assert set(out.terms) == {"invariance", "variance", "covariance"}
    torch.testing.assert_close(sum(out.terms.values()), out.loss.detach())
    assert out.extras["projection"].shape == (8, 20)

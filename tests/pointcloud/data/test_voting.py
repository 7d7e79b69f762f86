# SPDX-License-Identifier: Apache-2.0
"""Point-JEPA's voting: ten random subsamples and scalings of each cloud, whose answers are averaged."""

import pytest
import torch

from conjoin.core.data import Voting
from conjoin.core.methods import FineTune
from conjoin.pointcloud import PointJEPA, Shapes

pytest.importorskip("conjoin.samples")


def test_a_model_answers_by_ten_votes():
    data = Voting(Shapes(64, rotate=None, batch_size=3, seed=0))
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["look_counts"].tolist() == [10, 10, 10]
    clouds = batch["looks"].view(3, 10, 64, 3)
    # Centred, of radius 1, and no two alike.
    torch.testing.assert_close(clouds.norm(dim=-1).amax(-1), torch.ones(3, 10))
    torch.testing.assert_close(clouds.mean(dim=2), torch.zeros(3, 10, 3), atol=1e-5, rtol=0)
    assert len({tuple(cloud.amax(0).tolist()) for cloud in clouds.flatten(0, 1)}) == 30
    # Stretched by at most a half from one axis to another, so each is still the shape that it was.
    plain = (batch["x"].amax(1) - batch["x"].amin(1)).unsqueeze(1)
    stretched = (clouds.amax(2) - clouds.amin(2)) / plain
    assert float((stretched.amax(-1) / stretched.amin(-1)).median()) < 1.5
    system = PointJEPA(
        groups=8,
        group_size=8,
        widths=(8, 16, 16),
        encoder_dim=16,
        encoder_depth=1,
        encoder_heads=2,
        predictor_dim=8,
        predictor_depth=1,
        predictor_heads=2,
        seed=0,
    )
    model = FineTune(
        system=system, task="classification", outputs=34, head="mlp", vote_on="probabilities", seed=0
    ).eval()
    with torch.no_grad():
        out = model.step(batch).extras["outputs"]
        for row in range(3):
            votes = torch.stack([model.head(model.encoder(cloud[None]))[0] for cloud in clouds[row]])
            torch.testing.assert_close(out[row].softmax(0), votes.softmax(1).mean(0), rtol=1e-4, atol=1e-6)

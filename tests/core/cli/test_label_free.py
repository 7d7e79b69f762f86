# SPDX-License-Identifier: Apache-2.0
"""What is measured of a run: which samples, which views, which space."""

import math
from typing import Any

import pytest
import torch
from conjoin_toy import ToyData, ToySystem
from torch import nn

from conjoin.core import RedundancyReduction, random
from conjoin.core.cli.errors import UserError
from conjoin.core.cli.label_free import Sampling, has_projector, measure, probe
from conjoin.core.metrics import label_free
from conjoin.core.transforms import Noise, ViewGroup, Views


class Jittered(ToyData):
    """The toy with a training transform that draws."""

    @staticmethod
    def train_transform(x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * torch.randn(6)


class Unlabelled(ToyData):
    """The toy without answers."""

    def batch_transform(self, batch: dict[str, Any], train: bool) -> dict[str, Any]:
        return batch | {"label": torch.full_like(batch["label"], -1)}


SAMPLING = Sampling("train", 9, 5, 3)


def drawn() -> torch.Tensor:
    return random.permutation(torch.tensor(random.key(0, "rank")), 16)


def test_clean_samples_and_views_are_those_of_training() -> None:
    model, data = ToySystem(5).eval(), Jittered(seed=3)
    found, rows, width = measure(model, data, SAMPLING, "representation", progress=False)
    assert (rows, width) == (9, 5)
    raw = torch.stack([data.dataset("train")[i][0] for i in range(16)])
    clean = model.embed({"x": raw[drawn()[:9].sort().values]})
    views = []
    for index in drawn()[:5].tolist():
        for epoch in range(3):
            with random.seeded(random.key(3, "augment", epoch, index)):
                views.append(Jittered.train_transform(raw[index]))
    seen = model.embed({"x": torch.stack(views)}).unflatten(0, (5, 3))
    assert found == pytest.approx(label_free(clean, seen), rel=1e-4, nan_ok=True)
    assert found["lidar"] > 1


def test_views_of_the_system_come_on_top() -> None:
    model = two_view(Noise(0.5))
    plain, _, _ = measure(two_view(None), ToyData(seed=0), SAMPLING, "representation", progress=False)
    noisy, _, _ = measure(model, ToyData(seed=0), SAMPLING, "representation", progress=False)
    assert math.isnan(plain["alignment"])  # without noise the views do not differ
    assert noisy["alignment"] > 0
    again, _, _ = measure(model, ToyData(seed=0), SAMPLING, "representation", progress=False)
    assert again == pytest.approx(noisy, nan_ok=True)


class Channels(nn.Module):
    """An encoder of signals (B, 1, 6)."""

    embed_dim, grid = 5, (1,)

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor, keep: None = None) -> torch.Tensor:
        return self.proj(x.reshape(len(x), 1, 6))


def two_view(transform: Any) -> RedundancyReduction:
    torch.manual_seed(0)
    views = Views([ViewGroup(2, [] if transform is None else [transform])])
    return RedundancyReduction(Channels(), projector=nn.Linear(5, 7), views=views, seed=0).eval()


def test_projection() -> None:
    model, data = two_view(Noise(0.5)), ToyData(seed=0)
    assert has_projector(model)
    found, _, width = measure(model, data, SAMPLING, "projection", progress=False)
    assert width == 7
    raw = torch.stack([data.dataset("train")[int(i)][0] for i in drawn()[:9].sort().values])
    with torch.no_grad():
        z = model.projector(model.embed({"x": raw}))
    assert found["rankme"] == pytest.approx(label_free(z)["rankme"], rel=1e-4)
    with pytest.raises(UserError, match="toy: ToySystem has no projector: use --space representation"):
        measure(ToySystem(5), data, SAMPLING, "projection", name="toy", progress=False)


def test_too_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    from conjoin.core.cli import label_free as module

    monkeypatch.setattr(module, "WIDEST", 4)
    with pytest.raises(UserError, match="embeddings of 5 columns are too wide"):
        measure(ToySystem(5), ToyData(), SAMPLING, "representation", progress=False)


def test_probe_with_and_without_labels() -> None:
    found = probe(ToySystem(5), ToyData(), progress=False)
    assert found["metric"] == "accuracy"
    assert 0 <= found["val"] <= 1
    assert 0 <= found["test"] <= 1
    assert probe(ToySystem(5), Unlabelled(), progress=False) == {}


@pytest.mark.parametrize(("name", "value"), [("samples", 3), ("view_samples", 1), ("views", 1)])
def test_too_little_is_refused(name: str, value: int) -> None:
    with pytest.raises(UserError, match=f"--{name} must be at least"):
        Sampling(**{name: value})

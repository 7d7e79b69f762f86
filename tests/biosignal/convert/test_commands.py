# SPDX-License-Identifier: Apache-2.0
"""``conjoin convert`` for ECG-JEPA, from the official layout and back to it."""

from pathlib import Path

import pytest
import torch

from conjoin.biosignal import CONVERTERS, ECGJEPA
from conjoin.biosignal.convert import to_official_ecg
from conjoin.core.checkpoint import load_model
from conjoin.core.methods import JointEmbedding, StepOutput


@pytest.fixture
def official(tmp_path):
    model = ECGJEPA(encoder_depth=1, predictor_depth=1, seed=5)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.25)  # the state dicts must not be confused
    to_official_ecg(model, tmp_path / "released.pth")
    return tmp_path / "released.pth"


def run(source, target, *paths):
    (converter,) = (c for c in CONVERTERS if (c.source, c.target) == (source, target))
    converter.run(*paths)


def test_there_and_back_again(official, tmp_path):
    run("official", "conjoin", official, tmp_path / "a.ckpt")
    model = load_model(tmp_path / "a.ckpt")
    assert isinstance(model, ECGJEPA)
    run("conjoin", "official", tmp_path / "a.ckpt", tmp_path / "b.pth")
    one, other = (torch.load(path, weights_only=True)["model"] for path in (official, tmp_path / "b.pth"))
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(model.representation.norm.weight, one["target_encoder.norm.weight"])


def test_another_system_is_refused(official, tmp_path, monkeypatch):
    class Other(JointEmbedding):
        def step(self, batch):
            return StepOutput(batch["x"].sum())

    monkeypatch.setattr(
        "conjoin.core.checkpoint.load_model", lambda path: Other(torch.nn.Linear(1, 1), seed=0)
    )
    with pytest.raises(ValueError, match="holds a Other; only ECGJEPA has this official form"):
        run("conjoin", "official", official, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_every_converter_is_documented():
    text = (Path(__file__).parents[3] / "docs" / "ecg-jepa.md").read_text()
    for item in CONVERTERS:
        assert f"--from {item.source} --to {item.target}" in text

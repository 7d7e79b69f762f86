# SPDX-License-Identifier: Apache-2.0
"""``conjoin convert`` from the official release, back to it, and on to timm, on a synthetic checkpoint."""

import json

import pytest
import torch
from safetensors import safe_open
from timm.models import load_checkpoint
from timm.models.vision_transformer import VisionTransformer

from conjoin.core.checkpoint import load_model
from conjoin.core.cli.main import main
from conjoin.core.methods import JointEmbedding, StepOutput
from conjoin.vision import CONVERTERS, IJEPA
from conjoin.vision.convert import to_official


@pytest.fixture
def official(tmp_path):
    model = IJEPA("vit_tiny", 32, 4, 1, encoder_depth=2, predictor_dim=48, predictor_depth=2, seed=5)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.25)  # the three state dicts must not be confused
    to_official(model, tmp_path / "released.pth.tar")
    return tmp_path / "released.pth.tar"


def convert(source, target, *paths):
    # Two systems of this package read a release: which one is meant has to be said.
    system = ["--system", "IJEPA"] if source == "official" else []
    return main(["convert", "--from", source, "--to", target, *system, *map(str, paths)])


def test_there_and_back_again(official, tmp_path, capsys):
    assert convert("official", "conjoin", official, tmp_path / "a.ckpt") == 0
    assert convert("conjoin", "official", tmp_path / "a.ckpt", tmp_path / "b.pth.tar") == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "a.ckpt"), str(tmp_path / "b.pth.tar")]
    one, other = (torch.load(path, weights_only=True) for path in (official, tmp_path / "b.pth.tar"))
    assert set(one) == set(other)
    for part in ("encoder", "predictor", "target_encoder"):
        assert list(one[part]) == list(other[part])
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    assert not torch.equal(one["encoder"]["module.norm.bias"], one["target_encoder"]["module.norm.bias"])


def test_the_checkpoint_is_enough_by_itself(official, tmp_path):
    convert("official", "conjoin", official, tmp_path / "a.ckpt")
    model = load_model(tmp_path / "a.ckpt")
    assert isinstance(model, IJEPA)
    state = torch.load(official, weights_only=True)["target_encoder"]
    assert torch.equal(model.representation.norm.bias, state["module.norm.bias"])


def test_timm_reads_the_teacher(official, tmp_path):
    convert("official", "conjoin", official, tmp_path / "a.ckpt")
    assert convert("conjoin", "timm", tmp_path / "a.ckpt", tmp_path / "teacher.safetensors") == 0
    with safe_open(tmp_path / "teacher.safetensors", framework="pt") as file:
        arguments = json.loads(file.metadata()["timm"])
    theirs = VisionTransformer(**arguments).eval()
    load_checkpoint(theirs, str(tmp_path / "teacher.safetensors"), strict=True)
    x = torch.sin(torch.arange(2 * 32 * 32.0)).view(2, 1, 32, 32)
    expected = load_model(tmp_path / "a.ckpt").embed({"x": x})
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), expected, atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_one_sentence(official, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.ckpt").write_text("no checkpoint")
    assert convert("official", "conjoin", tmp_path / "a.ckpt", tmp_path / "b.ckpt") == 2
    assert convert("official", "conjoin", tmp_path / "none", tmp_path / "b.ckpt") == 2
    assert "There is no file" in capsys.readouterr().err

    class Other(JointEmbedding):
        def step(self, batch):
            return StepOutput(batch["x"].sum())

    for place in ("conjoin.core.checkpoint.load_model", "conjoin.vision.convert.commands.load_model"):
        monkeypatch.setattr(place, lambda path: Other(torch.nn.Linear(1, 1), seed=0))
    assert convert("conjoin", "official", official, tmp_path / "b") == 2
    assert "choose with --system" in capsys.readouterr().err  # this file names no system of ours
    given = ["--from", "conjoin", "--to", "official", "--system", "IJEPA", official, tmp_path / "b"]
    assert main(["convert", *map(str, given)]) == 2
    assert "holds a Other; only IJEPA has this official form" in capsys.readouterr().err
    assert convert("conjoin", "timm", official, tmp_path / "b") == 2
    assert "has a Linear as its encoder; timm takes a ViT" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.ckpt").exists()


def test_a_failed_write_keeps_the_older_file(official, tmp_path, monkeypatch):
    goal = tmp_path / "a.ckpt"
    goal.write_text("older")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert convert("official", "conjoin", official, goal) == 2
    assert goal.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "released.pth.tar"]


def test_every_converter_is_documented():
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    for item in CONVERTERS:
        assert f"--from {item.source} --to {item.target}" in text

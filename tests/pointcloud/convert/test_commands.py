# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.core.checkpoint import load_model
from conjoin.core.converters import converters
from conjoin.core.methods import JEPA
from conjoin.pointcloud import CONVERTERS, PointJEPA
from conjoin.pointcloud.convert import to_official

# The official form keeps no heads and no patch sizes, so these are the paper's.
SIZES = {
    "widths": (4, 6, 8),
    "encoder_dim": 12,
    "encoder_depth": 1,
    "predictor_dim": 6,
    "predictor_depth": 1,
}


def find(source, target):
    (found,) = [item for item in CONVERTERS if (item.source, item.target) == (source, target)]
    return found


def test_are_offered_to_the_command():
    assert set(CONVERTERS) <= set(converters())


def test_from_file_to_file_and_back(tmp_path):
    model = PointJEPA(**SIZES, seed=0)
    to_official(model, tmp_path / "released.ckpt")
    find("official", "conjoin").run(tmp_path / "released.ckpt", tmp_path / "ours.ckpt")
    loaded = load_model(tmp_path / "ours.ckpt")
    assert isinstance(loaded, PointJEPA)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    find("conjoin", "official").run(tmp_path / "ours.ckpt", tmp_path / "back.ckpt")
    there, back = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("released", "back")
    )
    assert there.keys() == back.keys()
    assert all(torch.equal(there[name], back[name]) for name in there)


def test_other_systems_have_no_official_form(tmp_path, monkeypatch):
    monkeypatch.setattr("conjoin.core.checkpoint.load_model", lambda path: object.__new__(JEPA))
    with pytest.raises(ValueError, match="holds a JEPA; only PointJEPA has this official form"):
        find("conjoin", "official").run(tmp_path / "x.ckpt", tmp_path / "y.ckpt")
    assert not (tmp_path / "y.ckpt").exists()

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from lightning.pytorch import LightningModule

from conjoin.core.checkpoint import load_model, self_description
from conjoin.core.converters import converters
from conjoin.tabular import CONVERTERS, TJEPA
from conjoin.tabular.convert import to_official


def run(source, target):
    (found,) = (item for item in CONVERTERS if (item.source, item.target) == (source, target))
    assert found.system == "TJEPA"
    return found.run


def test_there_and_back(tmp_path):
    # Published heads, which a file does not show.
    model = TJEPA(
        5, (3,), dim=8, depth=1, hidden=8, predictor_dim=8, predictor_depth=1, predictor_hidden=8, seed=0
    )
    to_official(model, tmp_path / "a.pth")
    run("official", "conjoin")(tmp_path / "a.pth", tmp_path / "b.ckpt")
    loaded = load_model(tmp_path / "b.ckpt")
    assert isinstance(loaded, TJEPA)
    x = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 2.0]])
    torch.testing.assert_close(loaded.embed({"x": x}), model.embed({"x": x}))
    run("conjoin", "official")(tmp_path / "b.ckpt", tmp_path / "c.pth")
    a, c = (torch.load(tmp_path / name, weights_only=True) for name in ("a.pth", "c.pth"))
    for part in ("context_encoder", "target_encoder", "predictor"):
        assert all(torch.equal(a[part][name], c[part][name]) for name in a[part])


def test_the_plugin_offers_them():
    assert set(CONVERTERS) <= set(converters())


def test_another_system_is_refused(tmp_path, monkeypatch):
    class Other(LightningModule):
        pass

    monkeypatch.setattr("conjoin.core.checkpoint.load_model", lambda path: Other())
    with pytest.raises(ValueError, match="holds a Other; only TJEPA has this official form"):
        run("conjoin", "official")(tmp_path / "a.ckpt", tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()
    assert (
        self_description(TJEPA(5, dim=8, depth=1, hidden=8, predictor_dim=8, predictor_depth=1, seed=0))[
            "class_path"
        ]
        == "conjoin.tabular.TJEPA"
    )

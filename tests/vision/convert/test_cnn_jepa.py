# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the layout of the released CNN-JEPA code, synthetic ones."""

import pytest
import timm
import torch

from conjoin.core.checkpoint import CheckpointError, load_model
from conjoin.vision import CNNJEPA, MixedMask
from conjoin.vision.convert import CONVERTERS, from_official_cnn_jepa, to_official_cnn_jepa

MASKS = MixedMask(min_keep=3)


def small(**options):
    return CNNJEPA("resnet18", 96, 3, masks=MASKS, seed=0, **options)


def released(path, name="resnet18", **extra):
    """A file as the released trainer leaves it, made without this package's classes."""
    torch.manual_seed(0)
    backbone, momentum = (timm.create_model(name, num_classes=0, global_pool="") for _ in range(2))
    width = backbone.num_features
    layers = []
    for _ in range(3):
        layers += [
            torch.nn.Conv2d(width, width, 3, padding="same", groups=width),
            torch.nn.Conv2d(width, width, 1),
            torch.nn.BatchNorm2d(width),
            torch.nn.ReLU(),
        ]
    system = torch.nn.Module()
    system.backbone = system.backbone_sparse = backbone
    system.backbone_momentum = system.backbone_for_online_eval = momentum
    system.predictor = torch.nn.Sequential(*layers)
    system.mask_token = torch.nn.Parameter(torch.randn(1, width, 1, 1))
    state = {key: value.detach().clone() for key, value in system.state_dict().items()} | extra
    torch.save({"state_dict": state, "epoch": 7, "optimizer_states": [], "hyper_parameters": {}}, path)
    return state


def test_reads_both_networks_the_token_and_the_predictor(tmp_path):
    state = released(tmp_path / "a.ckpt")
    model = from_official_cnn_jepa(tmp_path / "a.ckpt", image_size=96, masks=MASKS)
    assert model.grid == (3, 3)
    x = torch.randn(2, 3, 96, 96)
    dense = timm.create_model("resnet18", num_classes=0)
    prefix = "backbone_momentum."
    dense.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    expected = dense.eval().forward_features(x).mean((2, 3))
    torch.testing.assert_close(model.embed({"x": x}), expected)
    assert torch.equal(model.encoder.model.conv1.weight, state["backbone.conv1.weight"])
    assert not torch.equal(model.encoder.model.conv1.weight, model.teacher.model.conv1.weight)
    assert torch.equal(model.predictor.mask_token, state["mask_token"])
    assert torch.equal(model.predictor.layers[9].weight, state["predictor.9.weight"])


def test_back_and_forth(tmp_path):
    state = released(tmp_path / "a.ckpt")
    model = from_official_cnn_jepa(tmp_path / "a.ckpt", image_size=96, masks=MASKS)
    to_official_cnn_jepa(model, tmp_path / "b.ckpt", epoch=7)
    again = torch.load(tmp_path / "b.ckpt", weights_only=True)
    assert again["epoch"] == 7
    assert again["state_dict"].keys() == state.keys()
    assert all(torch.equal(again["state_dict"][name], value) for name, value in state.items())
    assert len([name for name in state if name.startswith("predictor.")]) == 3 * 9
    assert {name.split(".")[1] for name in state if name.startswith("predictor.")} == {
        *["0", "1", "2", "4", "5", "6", "8", "9", "10"]
    }


def test_predictor_of_another_shape_is_read_off_the_tensors(tmp_path):
    to_official_cnn_jepa(small(predictor_depth=2, predictor_kernel=5), tmp_path / "a.ckpt")
    model = from_official_cnn_jepa(tmp_path / "a.ckpt", image_size=96, masks=MASKS)
    assert len(model.predictor.layers) == 8
    assert model.predictor.layers[0].kernel_size == (5, 5)


def test_by_the_converters_of_the_command(tmp_path):
    state = released(tmp_path / "a.ckpt")
    run = {(c.source, c.target): c.run for c in CONVERTERS if c.system == "CNNJEPA"}
    run["official", "conjoin"](tmp_path / "a.ckpt", tmp_path / "b.ckpt")
    model = load_model(tmp_path / "b.ckpt")
    assert isinstance(model, CNNJEPA)
    assert model.grid == (7, 7)
    run["conjoin", "official"](tmp_path / "b.ckpt", tmp_path / "c.ckpt")
    again = torch.load(tmp_path / "c.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_refusals(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"model": {}}, path)
    with pytest.raises(CheckpointError, match="no 'backbone' in its state dict"):
        from_official_cnn_jepa(path)
    state = released(path)
    for part in ("backbone_momentum", "predictor", "mask_token"):
        kept = {k: v for k, v in state.items() if not k.startswith((part, "backbone_for_online_eval"))}
        torch.save({"state_dict": kept}, path)
        with pytest.raises(CheckpointError, match=f"no '{part}'"):
            from_official_cnn_jepa(path)
    odd = {k: v for k, v in state.items() if not k.endswith("bn1.bias")}
    torch.save({"state_dict": odd}, path)
    with pytest.raises(CheckpointError, match="give encoder, timm's name of it"):
        from_official_cnn_jepa(path)
    with pytest.raises(CheckpointError, match=r"The backbone in .* does not fit"):
        from_official_cnn_jepa(path, encoder="resnet18", image_size=96, masks=MASKS)
    with pytest.raises(ValueError, match="not with ConvNeXt"):
        to_official_cnn_jepa(CNNJEPA("test_convnext", 96, masks=MASKS), path)

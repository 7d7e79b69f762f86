# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the layout of the released CNN-JEPA code, synthetic ones."""

import itertools

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d

from conjoin.core.checkpoint import CheckpointError, load_model
from conjoin.vision import CNNJEPA, MixedMask
from conjoin.vision.convert import CONVERTERS, cnn_jepa, from_official_cnn_jepa, to_official_cnn_jepa

MASKS = MixedMask(min_keep=3)


def small(**options):
    return CNNJEPA("resnet18", 96, 3, masks=MASKS, seed=0, **options)


def released(path, name="resnet18", **extra):
    """A file as the released trainer leaves it, made without this package's classes."""
    torch.manual_seed(0)
    networks = (timm.create_model(name, num_classes=0, global_pool="") for _ in range(2))
    return _released(path, *networks, torch.nn.BatchNorm2d, **extra)


def _released(path, backbone, momentum, norm, **extra):
    width = backbone.num_features
    layers = []
    for _ in range(3):
        layers += [
            torch.nn.Conv2d(width, width, 3, padding="same", groups=width),
            torch.nn.Conv2d(width, width, 1),
            norm(width),
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


class AuthorsConvNeXt(torch.nn.Module):
    """A ConvNeXt as its authors lay it out, dense."""

    class Block(torch.nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.dwconv = torch.nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
            self.norm = torch.nn.LayerNorm(dim, eps=1e-6)
            self.pwconv1 = torch.nn.Linear(dim, 4 * dim)
            self.pwconv2 = torch.nn.Linear(4 * dim, dim)
            self.gamma = torch.nn.Parameter(torch.rand(dim))

        def forward(self, x):
            y = self.norm(self.dwconv(x).movedim(1, -1))
            return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))).movedim(-1, 1)

    class Norm(torch.nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.movedim(1, -1)).movedim(-1, 1)

    def __init__(self, depths=(1, 2, 3, 1), dims=(8, 12, 16, 24)):
        super().__init__()
        first = torch.nn.Sequential(torch.nn.Conv2d(3, dims[0], 4, 4), self.Norm(dims[0], 1e-6))
        others = [
            torch.nn.Sequential(self.Norm(a, 1e-6), torch.nn.Conv2d(a, b, 2, 2))
            for a, b in itertools.pairwise(dims)
        ]
        self.downsample_layers = torch.nn.ModuleList([first, *others])
        self.stages = torch.nn.ModuleList(
            torch.nn.Sequential(*(self.Block(dim) for _ in range(depth)))
            for depth, dim in zip(depths, dims, strict=True)
        )
        self.num_features = dims[-1]
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.2)

    def forward(self, x):
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return x


def released_convnext(path):
    """The same file with a ConvNeXt; its predictor has layer norms."""
    torch.manual_seed(1)
    return _released(path, AuthorsConvNeXt(), AuthorsConvNeXt(), LayerNorm2d)


def test_reads_and_writes_the_convnexts_of_the_release(tmp_path):
    state = released_convnext(tmp_path / "a.ckpt")
    sizes = {"depths": (1, 2, 3, 1), "dims": (8, 12, 16, 24)}
    options = {"encoder": "convnext_tiny", "encoder_options": sizes, "image_size": 96, "masks": MASKS}
    model = from_official_cnn_jepa(tmp_path / "a.ckpt", **options)
    x = torch.randn(2, 3, 96, 96)
    for module, prefix in ((model.encoder, "backbone."), (model.teacher, "backbone_momentum.")):
        dense = AuthorsConvNeXt()
        dense.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        torch.testing.assert_close(module(x), dense(x).flatten(2).mT, rtol=1e-4, atol=1e-5)
    assert isinstance(model.predictor.layers[2], LayerNorm2d)
    assert torch.equal(model.predictor.layers[10].weight, state["predictor.10.weight"])
    to_official_cnn_jepa(model, tmp_path / "b.ckpt")
    again = torch.load(tmp_path / "b.ckpt", weights_only=True)["state_dict"]
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("name", "depths", "dims"),
    [
        ("convnext_tiny", (3, 3, 9, 3), (96, 192, 384, 768)),
        ("convnext_base", (3, 3, 27, 3), (128, 256, 512, 1024)),
    ],
)
def test_the_size_of_a_convnext_is_read_off_its_tensors(name, depths, dims):
    with torch.device("meta"):
        state = AuthorsConvNeXt(depths, dims).state_dict()
    tensors = {f"backbone.{key}": tensor for key, tensor in state.items()}
    # A classifier's norm and layer, as in a file of a fine-tuned network, do not count.
    tensors |= {"backbone.norm.weight": torch.ones(dims[-1]), "backbone.fc.bias": torch.ones(10)}
    assert cnn_jepa._network(cnn_jepa._network_of(tensors, ("backbone.",))) == name


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
    with pytest.raises(
        ValueError, match=r"no released form: stages.0.blocks.0.mlp.fc1.weight .* is no tensor"
    ):
        to_official_cnn_jepa(CNNJEPA("convnext_atto", 96, masks=MASKS), path)
    state = released_convnext(path) | {"backbone.grn.gamma": torch.ones(1)}
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=r"The ConvNeXt in .* cannot be read: grn.gamma \(1,\) is no"):
        from_official_cnn_jepa(path)

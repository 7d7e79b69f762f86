# SPDX-License-Identifier: Apache-2.0
"""Two vocabularies for the same tensors, both ways and without loss."""

import pytest
import timm
import torch

from conjoin.vision.convert.convnext import from_authors, is_authors, to_authors

PAIRS = {
    "downsample_layers.0.0.weight": "stem.0.weight",
    "downsample_layers.0.1.bias": "stem.1.bias",
    "downsample_layers.3.0.bias": "stages.3.downsample.0.bias",
    "downsample_layers.2.1.weight": "stages.2.downsample.1.weight",
    "stages.1.2.gamma": "stages.1.blocks.2.gamma",
    "stages.0.0.dwconv.weight": "stages.0.blocks.0.conv_dw.weight",
    "stages.2.26.norm.bias": "stages.2.blocks.26.norm.bias",
    "stages.3.1.pwconv1.weight": "stages.3.blocks.1.mlp.fc1.weight",
    "stages.3.1.pwconv2.bias": "stages.3.blocks.1.mlp.fc2.bias",
}


def test_each_name_has_its_other():
    authors = {name: torch.full((2, 2), float(n)) for n, name in enumerate(PAIRS)}
    timms = from_authors(authors)
    assert {name: PAIRS[name] for name in authors} == dict(zip(authors, timms, strict=True))
    again = to_authors(timms)
    assert list(again) == list(authors)
    assert all(again[name] is tensor for name, tensor in authors.items())
    assert is_authors(authors)
    assert not is_authors(timms)


def test_every_tensor_of_a_plain_convnext_is_named():
    with torch.device("meta"):
        model = timm.create_model("convnext_tiny", num_classes=0)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    assert list(from_authors(to_authors(state))) == list(state)


@pytest.mark.parametrize("name", ["stages.0.0.grn.gamma", "downsample_layers.0.2.weight", "norm.weight"])
def test_what_the_authors_do_not_have_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} \(3,\) is no tensor of a plain ConvNeXt"):
        from_authors({name: torch.ones(3)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [("stages.0.blocks.0.mlp.fc1.weight", (8, 2, 1, 1)), ("stem.3.weight", (2,)), ("norm_pre.weight", (2,))],
)
def test_what_only_timm_has_is_refused(name, shape):
    with pytest.raises(ValueError, match="is no tensor of a plain ConvNeXt"):
        to_authors({name: torch.ones(shape)})

# SPDX-License-Identifier: Apache-2.0
"""Heads: the papers' parameter counts, what each option adds, and prototypes as cosines."""

import pytest
import torch
from torch import nn

from conjoin.core import random, spec
from conjoin.core.methods.batch_norm import BatchNorm
from conjoin.core.methods.head import Head, Prototypes


@pytest.mark.parametrize(
    ("head", "dim", "count"),
    [
        (Head(8192, 8192, 3), 2048, 151_027_712),  # Barlow Twins
        (Head(8192, 8192, 3, hidden_bias=True), 2048, 151_044_096),  # VICReg
        (Head(8192, 8192, 3, bias=True), 2048, 151_035_904),  # INTL, ImageNet
        (Head(2048, 2048, 3, bias=True), 512, 9_447_424),  # INTL, CIFAR
        (Head(4096, 256, hidden_bias=True, bias=True), 2048, 9_449_728),  # TiCo
    ],
    ids=["barlow", "vicreg", "intl", "intl-cifar", "tico"],
)
def test_parameter_counts_of_the_papers(head, dim, count):
    with torch.device("meta"):
        module = head.build(dim)
    assert sum(p.numel() for p in module.parameters()) == count


def names(head, dim=6):
    return [name for name, _ in head.build(dim).named_children()]


def test_layout():
    assert names(Head(8, 4, 3)) == [
        "linear1",
        "norm1",
        "activation1",
        "linear2",
        "norm2",
        "activation2",
        "last",
    ]
    assert names(Head(8, 4, 1)) == ["last"]
    assert names(Head(8, 4, last_norm="plain"))[-1] == "last_norm"
    assert names(Head(8, 4, norm="none", prototypes=9)) == ["linear1", "activation1", "last", "prototypes"]
    assert isinstance(Head(layers=0).build(6), nn.Identity)


@pytest.mark.parametrize(("kind", "count"), [("batch", 2), ("scale", 1), ("plain", 0)])
def test_the_last_norm_learns_what_its_name_says(kind, count):
    layer = Head(8, 4, last_norm=kind).build(6).last_norm
    assert isinstance(layer, BatchNorm)
    assert len(list(layer.parameters())) == count


def test_widths():
    x = torch.randn(5, 6)
    for head in (Head(), Head(8, 4, 3), Head(layers=0), Head(8, 4, norm="none", prototypes=9)):
        assert head.build(6)(x).shape == (5, head.width(6))
    assert Head().build(6).linear1.out_features == 6  # hidden layers as wide as the input


def test_prototypes_are_cosines_whatever_the_lengths():
    layer = Prototypes(6, 9)
    x = torch.randn(5, 6)
    expected = nn.functional.cosine_similarity(x[:, None], layer.weight[None], dim=-1)
    torch.testing.assert_close(layer(x), expected)
    with torch.no_grad():
        layer.weight.mul_(7)
    torch.testing.assert_close(layer(3 * x), expected)


def test_new_weights():
    head = Head(8, 4, norm="none", activation="gelu", hidden_bias=True, prototypes=9).build(6)
    assert 0.01 < head.linear1.weight.std() < 0.03  # DINO's
    assert not head.linear1.bias.any()
    with random.seeded(1):
        first = Prototypes(6, 9).weight.clone()
    with random.seeded(1):
        layer = Prototypes(6, 9)
    assert torch.equal(layer.weight, first)
    layer.reset_parameters()
    assert not torch.equal(layer.weight, first)


def test_describes_itself():
    head = Head(8, 4, 3, last_norm="scale")
    assert spec.build(spec.describe(head)) == head


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Head(0), "hidden must be at least 1, not 0"),
        (lambda: Head(layers=-1), "layers must be at least 0"),
        (lambda: Head(layers=0, prototypes=4), "at least 1 with prototypes"),
        (lambda: Head(norm="layer"), "norm must be one of batch, none, not 'layer'"),
        (lambda: Head(last_norm="x"), "last_norm must be one of"),
        (lambda: Head(activation="tanh"), "activation must be one of relu, gelu"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()

# SPDX-License-Identifier: Apache-2.0
import json
import re

import numpy as np
import pytest
import torch

from conjoin.core.report.features import (
    _enlarged,
    colours,
    features_section,
    gallery_section,
    principal_axes,
    projection_section,
)
from conjoin.core.report.gallery import Panel
from conjoin.core.report.subject import Subject


def test_principal_axes_are_those_of_the_singular_values() -> None:
    values = torch.randn(
        40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ) * torch.arange(1, 7)
    mean, axes, share = principal_axes(values, 3)
    _, power, right = np.linalg.svd((values - mean).numpy(), full_matrices=False)
    np.testing.assert_allclose(np.abs(axes.T.numpy()), np.abs(right[:3]), atol=1e-9)
    np.testing.assert_allclose(share.numpy(), (power**2 / (power**2).sum())[:3])
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_colours_follow_the_components(dim: int) -> None:
    tokens = torch.randn(4, 9, dim, generator=torch.Generator().manual_seed(0))
    found = colours(tokens)
    assert found.shape == (4, 9, 3)
    assert found.dtype == torch.uint8
    mean, axes, _ = principal_axes(tokens.flatten(0, 1), 1)
    first = ((tokens - mean) @ axes)[..., 0].flatten()
    order = found[..., 0].flatten()[first.argsort()].long()
    assert (order.diff() >= 0).all()
    assert not found[..., dim:].any()


def test_gallery_shows_each_sample_with_its_masks(subject: Subject) -> None:
    body = gallery_section(subject, 3).body
    assert body.count("<img") == 9
    assert body.count('class="sample"') == 3
    assert "<i>" not in body


def test_gallery_of_a_method_without_masks(subject: Subject) -> None:
    model = type("Plain", (), {"encoder": subject.model.encoder})()
    subject.model = model
    assert gallery_section(subject, 3).body.count("<img") == 3


def test_feature_maps_stand_beside_images(subject: Subject) -> None:
    assert features_section(subject, 2).body.count("<img") == 8


def test_an_artist_says_how_the_grid_lies_on_its_picture() -> None:
    values = torch.arange(6, dtype=torch.uint8).view(6, 1).expand(6, 3)
    plain = _enlarged(values, (2, 3), (4, 3))[..., 0]
    assert plain.tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]
    turned = _enlarged(values, (2, 3), (3, 4), lambda cells: cells.transpose(1, 0, 2)[::-1])[..., 0]
    assert turned.tolist() == [[2, 2, 5, 5], [1, 1, 4, 4], [0, 0, 3, 3]]


def test_tokens_without_a_plane_have_a_sentence(subject: Subject) -> None:
    subject.model.encoder.grid = (64,)
    body = features_section(subject, 2).body
    assert "drawn where tokens lie on a plane; here their grid is 64." in body
    assert "<img" not in body


def test_gallery_draws_what_nobody_said_how_to_draw(subject: Subject) -> None:
    subject.model.encoder.grid = (64,)
    section = gallery_section(subject, 3)
    assert section.body.count("<img") == 6
    assert "coloured to predict" in section.body


def test_gallery_asks_the_data_module(subject: Subject) -> None:
    asked = []

    def draw(sample: object, masks: object, grid: object) -> list[Panel]:
        asked.append((sample["x"].shape, masks.context.shape[0], grid))  # type: ignore[attr-defined,index]
        return [Panel("mine", "alt", np.zeros((8, 8), np.uint8))]

    subject.datamodule.draw = draw
    assert gallery_section(subject, 3).body.count("mine") == 3
    assert asked == [((3, 48, 48), 1, (8, 8))] * 3


def test_projection_of_numbers_has_a_ramp(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    numbers = torch.arange(40, dtype=torch.float64)
    numbers[3] = float("nan")
    monkeypatch.setattr(Subject, "embeddings", lambda self, count: (values, numbers))
    section = projection_section(subject, 40)
    spec = json.loads(re.search(r'data-figure="fig-projection-pca">(.*?)</script>', section.body)[1])
    (trace,) = spec["data"]
    assert len(trace["x"]) == len(trace["marker"]["color"]) == 39
    assert trace["marker"]["cmin"] < 2 < 37 < trace["marker"]["cmax"]
    assert "the number to predict" in section.body


def test_projection_names_classes_and_counts(subject: Subject) -> None:
    body = projection_section(subject, 40).body
    spec = json.loads(re.search(r'data-figure="fig-projection-pca">(.*?)</script>', body)[1])
    assert sum(len(trace["x"]) for trace in spec["data"]) == 40
    assert [trace["name"] for trace in spec["data"]][:2] == ["red square", "green disc"]
    assert "&lt;i>violet" in [trace["name"] for trace in spec["data"]][4]


def test_many_classes_and_no_classes(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    for labels, names in ((torch.arange(60) % 12, 11), (torch.full((60,), -1), 1)):
        monkeypatch.setattr(Subject, "embeddings", lambda self, count, labels=labels: (values, labels))
        body = projection_section(subject, 60).body
        spec = json.loads(re.search(r'data-figure="fig-projection-pca">(.*?)</script>', body)[1])
        assert len(spec["data"]) == names
        assert sum(len(trace["x"]) for trace in spec["data"]) == 60
    assert spec["data"][0]["name"] == "no label"

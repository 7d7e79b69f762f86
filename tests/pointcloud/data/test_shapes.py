# SPDX-License-Identifier: Apache-2.0
import sys

import pytest
import torch

from conjoin import samples
from conjoin.pointcloud import Shapes


def test_reads_the_embedded_splits():
    data = Shapes()
    embedded = samples.shapes()
    assert data.class_names == embedded.class_names
    assert data.num_classes == 34
    assert [len(data.build(split)) for split in ("train", "val", "test")] == [2054, 444, 811]
    part = data.build("val")
    assert torch.equal(part[5]["x"], torch.tensor(embedded.validation.points[5]))
    assert part[5]["label"] == embedded.validation.labels[5]
    batch = data.batch_transform(next(iter(data.train_dataloader())), train=True)
    assert batch["x"].shape == (64, 256, 3)


def test_every_shape_is_usable():
    data = Shapes(512)
    for split in ("train", "val", "test"):
        part = data.build(split)
        assert all(torch.isfinite(part[n]["x"]).all() for n in range(len(part)))


def test_refuses_more_points_than_are_stored():
    with pytest.raises(ValueError, match="at most the 512 that are stored of each shape, not 513"):
        Shapes(513)


def test_says_where_the_shapes_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "conjoin.samples", None)
    monkeypatch.delattr("conjoin.samples", raising=False)
    with pytest.raises(ImportError, match=r"conjoin\[samples\]"):
        Shapes()

# SPDX-License-Identifier: Apache-2.0
import builtins

import pytest
import torch

from conjoin.tabular import EmbeddedTable

SHAPES = {
    "diamonds": (6, (5, 7, 8), ()),
    "churn": (3, (2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 4), (2,)),
    "credit": (9, (7, 5, 2, 5), (4, 5, 6)),
    "flights": (6, (16, 3, 101), ()),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_table_is_encoded(name):
    data = EmbeddedTable(name)
    schema = data.load()
    assert (len(schema.numeric), schema.categories, schema.missing) == SHAPES[name]
    x = data.build("train").fields["x"]
    numbers = x[:, : len(schema.numeric)]
    known = numbers.nan_to_num(0)
    assert set(torch.nonzero(numbers.isnan())[:, 1].unique().tolist()) == set(schema.missing)
    torch.testing.assert_close(numbers.nanmean(0), torch.zeros(len(schema.numeric)), atol=2e-3, rtol=0)
    assert known.abs().max() < 60
    for split in ("train", "val", "test"):
        label = data.build(split).fields["label"]
        assert set(label.tolist()) == set(range(data.num_classes))


def test_diamonds_in_fifths_and_by_price():
    label = EmbeddedTable("diamonds").build("train").fields["label"]
    assert (label.bincount().float() / len(label) - 0.2).abs().max() < 0.01
    data = EmbeddedTable("diamonds", "regression")
    target = data.build("train").fields["target"]
    assert target.std(correction=0).item() == pytest.approx(1, abs=1e-3)
    assert 3000 < data.target_scale < 5000


def test_guards(monkeypatch):
    with pytest.raises(ValueError, match="table 'churn' has no regression; it has classification"):
        EmbeddedTable("churn", "regression")
    with pytest.raises(ValueError, match="No embedded table is called 'iris'; there are diamonds, churn"):
        EmbeddedTable("iris")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "conjoin" and args[2:3] == (("samples",),):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="python -m pip install"):
        EmbeddedTable()

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.tabular import Table, TableModule
from conjoin.tabular.data import Source, split_rows

ROWS = 40


class Module(TableModule):
    """A number that grows with the row, a kind, and a target."""

    def __init__(self, task="classification", target=None, classes=None, split=None, **options):
        super().__init__(task, **({"batch_size": 4, "seed": 0} | options))
        self.source = Source(
            Table({"n": np.arange(ROWS, dtype=float), "kind": np.array(list("ab") * 20, object)}),
            np.array(list("xyzz") * 10, object) if target is None else target,
            classes,
            split,
        )
        self.reads = 0

    def read(self):
        self.reads += 1
        return self.source


def test_split_is_drawn_by_key():
    split = split_rows(1000, 0.1, 0.2)
    assert np.bincount(split).tolist() == [700, 100, 200]
    assert np.array_equal(split, split_rows(1000, 0.1, 0.2))
    assert not np.array_equal(split, split_rows(1000, 0.1, 0.2, seed=1))
    # Which rows are tested does not depend on how many are held out for choices.
    assert np.array_equal(split == 2, split_rows(1000, 0.3, 0.2) == 2)
    for val, test, message in (
        (0, 0.1, "val_fraction must lie between 0 and 1, not 0"),
        (0.1, 1, "test_fraction must lie between 0 and 1, not 1"),
        (0.5, 0.5, "leave a split empty"),
        (0.0001, 0.1, "leave a split empty"),
    ):
        with pytest.raises(ValueError, match=message):
            split_rows(1000, val, test)


def test_statistics_come_from_training_rows_alone():
    data = Module()
    data.setup("fit")
    train = np.flatnonzero(split_rows(ROWS, 0.1, 0.1) == 0)
    assert data.schema.numeric[0].shift == pytest.approx(train.mean())
    assert data.schema.numeric[0].scale == pytest.approx(train.std())
    encoded = data.build("train").fields["x"][:, 0]
    assert encoded.mean().item() == pytest.approx(0, abs=1e-6)
    whole = Module(statistics="all")
    whole.setup("fit")
    assert whole.schema.numeric[0].shift == pytest.approx(np.arange(ROWS).mean())
    assert data.reads == 1


def test_splits_share_no_row_and_batches_have_labels():
    data = Module()
    rows = [data.build(split).fields["x"][:, 0] for split in ("train", "val", "test")]
    assert [len(part) for part in rows] == [32, 4, 4]
    assert len(torch.cat(rows).unique()) == ROWS
    assert (data.num_classes, data.class_names) == (3, ("x", "y", "z"))
    batch = next(iter(data.train_dataloader()))
    assert batch["x"].shape == (4, 2)
    assert batch["x"].dtype == torch.float32
    assert batch["label"].dtype == torch.int64
    assert {"index", "epoch"} <= set(batch)


def test_training_over_all_rows_leaves_probes_alone():
    data = Module(pretrain_rows="all")
    assert len(data.train_dataloader().dataset) == ROWS
    assert len(data.evaluation_dataloader("train").dataset) == 32
    assert len(data.train_dataloader().dataset) == ROWS
    assert len(Module().train_dataloader().dataset) == 32


def test_regression_targets_are_standardised_on_training_rows():
    values = np.arange(ROWS, dtype=float) * 3 + 7
    values[5] = np.nan
    data = Module("regression", values)
    data.load()
    train = values[(split_rows(ROWS, 0.1, 0.1) == 0) & ~np.isnan(values)]
    assert data.target_mean == pytest.approx(train.mean())
    assert data.target_scale == pytest.approx(train.std())
    assert data.num_classes is None
    fields = data.build("train").fields
    assert "label" not in fields
    found = (fields["target"] * data.target_scale + data.target_mean).numpy()
    expected = values[split_rows(ROWS, 0.1, 0.1) == 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_unknown_labels_and_given_classes():
    target = np.array([None, "y", "z", "z"] * 10, object)
    data = Module(target=target, classes=("z", "y", "x"))
    label = torch.cat([data.build(split).fields["label"] for split in ("train", "val", "test")])
    assert sorted(label.tolist()) == [-1] * 10 + [0] * 20 + [1] * 10


def test_a_given_split_is_kept():
    split = np.zeros(ROWS, np.uint8)
    split[:3], split[3:8] = 2, 1
    data = Module(split=split)
    assert [len(data.build(name)) for name in ("train", "val", "test")] == [32, 5, 3]


def test_raw_features_are_one_hot():
    data = Module()
    batch = next(iter(data.evaluation_dataloader("val")))
    features = data.raw_features(batch)
    assert features.shape == (4, 3)
    assert (features[:, 1:].sum(1) == 1).all()


def test_guards():
    with pytest.raises(
        ValueError, match="task must be one of 'classification', 'regression', None, not 'rank'"
    ):
        Module("rank")
    with pytest.raises(ValueError, match="statistics must be one of 'train', 'all', not 'test'"):
        Module(statistics="test")
    with pytest.raises(ValueError, match="pretrain_rows must be one of"):
        Module(pretrain_rows="none")
    with pytest.raises(ValueError, match="value 'z', which is no class of x, y"):
        Module(classes=("x", "y")).load()
    with pytest.raises(ValueError, match="a classification needs two"):
        Module(target=np.array(["x"] * ROWS, object)).load()
    with pytest.raises(ValueError, match="does not vary"):
        Module("regression", np.ones(ROWS)).load()
    with pytest.raises(ValueError, match="do not fill one global batch"):
        Module(batch_size=64).train_dataloader()

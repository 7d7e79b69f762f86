# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.tabular import TableFile

HEADER = "id,size,colour,grade,price\n"


def lines(count=30):
    words = ("red", "green", "", "NA")
    return [f"{n},{n / 2},{words[n % 4]},{n % 3},{10 * n if n else 'unknown'}" for n in range(count)]


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "table.csv"
    found.write_text(HEADER + "\n".join(lines()) + "\n")
    return found


def test_classification_of_numbers_as_words(path):
    data = TableFile(path, "grade", "classification", drop=("id", "price"), seed=0)
    schema = data.load()
    assert schema.names == ("size", "colour")
    assert data.class_names == ("0", "1", "2")
    assert schema.categorical[0].values == ("", "green", "red")
    assert data.build("train").fields["x"].shape == (24, 2)


def test_regression_with_its_own_word_for_missing(path):
    data = TableFile(
        path, "price", "regression", categorical=("grade",), drop=("id",), missing=("", "NA", "unknown")
    )
    schema = data.load()
    assert schema.names == ("size", "colour", "grade")
    targets = torch.cat([data.build(split).fields["target"] for split in ("train", "val", "test")])
    assert targets.isnan().sum() == 1
    with pytest.raises(ValueError, match="Column 'price', row 1: 'unknown' is no number"):
        TableFile(path, "price", "regression").load()


def test_arff_nominal_columns_and_parquet(tmp_path):
    text = "@relation r\n@attribute code {1,2}\n@attribute y real\n@data\n" + "".join(
        f"{1 + n % 2},{n}\n" for n in range(20)
    )
    (tmp_path / "a.arff").write_text(text)
    schema = TableFile(tmp_path / "a.arff", "y", "regression").load()
    assert schema.categorical[0].values == ("1", "2")
    assert TableFile(tmp_path / "a.arff", "y", "regression", numeric=("code",)).load().categorical == ()
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"a": np.arange(20.0), "b": [None, "x"] * 10, "y": [0, 1] * 10}
    parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    data = TableFile(tmp_path / "a.parquet", "y", "classification")
    assert (data.load().names, data.class_names) == (("a", "b"), ("0", "1"))


def test_without_target(path):
    data = TableFile(path, drop=("id", "price"))
    assert set(data.build("val").fields) == {"x"}
    assert data.num_classes is None


def test_guards(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv"):
        TableFile(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="Give target and task together: target is 'grade', task is None"):
        TableFile(path, "grade")
    with pytest.raises(ValueError, match="no column 'Grade'; there are id, size"):
        TableFile(path, "Grade", "classification").load()
    with pytest.raises(ValueError, match="no column 'x'"):
        TableFile(path, drop=("x",)).load()

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from writing import signal, write_ptbxl

from conjoin.biosignal.data import PTBXL, STATISTICS
from conjoin.biosignal.data.ptbxl import statements

ROWS = [  # patient, codes, fold
    (1, {"NORM": 100.0, "SR": 0.0}, 1),
    (1, {"IMI": 0.0, "AFIB": 0.0}, 1),
    (2, {"AMI": 50.0, "IMI": 35.0, "NDT": 15.0}, 8),
    (3, {"SR": 0.0}, 9),
    (4, {"NDT": 100.0, "SR": 0.0}, 10),
    (5, {"NORM": 80.0}, 10),
    (6, {"XYZ": 80.0}, 2),
]


@pytest.fixture
def root(tmp_path):
    write_ptbxl(tmp_path, ROWS)
    return tmp_path


# Labels by hand; a statement whose likelihood is 0 (unknown) counts.
@pytest.mark.parametrize(
    ("task", "names", "train", "test"),
    [
        (
            "all",
            ("AFIB", "AMI", "IMI", "NDT", "NORM", "SR"),
            [[0, 0, 0, 0, 1, 1], [1, 0, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0]],
            [[0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 1, 0]],
        ),
        (
            "superdiagnostic",
            ("MI", "NORM", "STTC"),
            [[0, 1, 0], [1, 0, 0], [1, 0, 1]],
            [[0, 0, 1], [0, 1, 0]],
        ),
        (
            "subdiagnostic",
            ("AMI", "IMI", "NORM", "STTC"),
            [[0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 1]],
            [[0, 0, 0, 1], [0, 0, 1, 0]],
        ),
        (
            "diagnostic",
            ("AMI", "IMI", "NDT", "NORM"),
            [[0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 0]],
            [[0, 0, 1, 0], [0, 0, 0, 1]],
        ),
        ("form", ("NDT",), [[1]], [[1]]),
        ("rhythm", ("AFIB", "SR"), [[0, 1], [1, 0]], [[0, 1]]),
    ],
)
def test_label_matrices_by_hand(root, task, names, train, test):
    data = PTBXL(root, task, 100)
    assert data.label_names == data.class_names == names
    assert data.num_classes == len(names)
    for split, expected in (("train", train), ("test", test)):
        dataset = data.dataset(split)
        assert [dataset[index]["labels"].tolist() for index in range(len(dataset))] == expected


def test_single_label_only_where_there_is_exactly_one(root):
    dataset = PTBXL(root, "superdiagnostic", 100).dataset("train")
    assert [dataset[index]["label"] for index in range(3)] == [1, 0, -1]


def test_recordings_of_a_fold_standardised(root):
    data = PTBXL(root, None, 100, 400, batch_size=2)
    assert len(data.dataset("train")) == 4
    batch = next(iter(data.evaluation_dataloader("val")))
    assert set(batch) == {"x", "looks", "look_counts", "index", "epoch"}
    statistics = STATISTICS["ptb-xl"]
    mean, std = (np.array(values)[:, None] for values in (statistics.mean, statistics.std))
    expected = ((signal(4, 1000) - mean) / std).clip(-5, 5)[:, 300:700]
    np.testing.assert_allclose(batch["x"][0], expected, atol=1e-5)
    assert next(iter(data.train_dataloader()))["x"].shape == (2, 12, 400)


def test_folds_are_patient_disjoint(root):
    data = PTBXL(root, None, 100)
    patients = {
        split: {data.patients[i] for i in np.flatnonzero(np.isin(data.folds, folds))}
        for split, folds in (("train", range(1, 9)), ("val", [9]), ("test", [10]))
    }
    assert patients == {"train": {1, 2, 6}, "val": {3}, "test": {4, 5}}


def test_500_hz(tmp_path):
    write_ptbxl(tmp_path, ROWS[:1], rate=500)
    assert PTBXL(tmp_path).dataset("train")[0]["x"].shape == (12, 5000)


def test_guards(root):
    with pytest.raises(ValueError, match="at 100 and at 500 Hz, not at 250"):
        PTBXL(root, rate=250)
    with pytest.raises(ValueError, match="task must be one of all, diagnostic"):
        PTBXL(root, "class", 100)
    with pytest.raises(ValueError, match=r"no labelled recording in folds \[9\] \(val\)"):
        PTBXL(root, "form", 100).build("val")
    table = root / "ptbxl_database.csv"
    text = table.read_text()
    table.write_text(text.replace("{'SR': 0.0}", "{'SR': "))
    with pytest.raises(ValueError, match=r"scp_codes \"\{'SR': \" is not a dictionary"):
        PTBXL(root, "all", 100)
    table.write_text(text.replace("1,1.0,", "1,,", 1))
    with pytest.raises(ValueError, match="patient_id of recording 1 is '', no number"):
        PTBXL(root, "all", 100)
    table.write_text(text.replace("strat_fold", "fold"))
    with pytest.raises(ValueError, match=r"has no column strat_fold: is it ptbxl_database.csv\?"):
        PTBXL(root, None, 100)
    table.unlink()
    with pytest.raises(FileNotFoundError, match="The table of recordings is not at"):
        PTBXL(root, None, 100)
    with pytest.raises(FileNotFoundError, match="The table of statements is not at"):
        PTBXL(root / "none", "all", 100)


def test_statement_table_guards(tmp_path):
    path = tmp_path / "scp_statements.csv"
    path.write_text(",description\nNORM,normal\n")
    with pytest.raises(ValueError, match="has no column rhythm"):
        statements(path, "rhythm")
    path.write_text(",rhythm\nNORM,\n")
    with pytest.raises(ValueError, match="no statement of the task 'rhythm'"):
        statements(path, "rhythm")

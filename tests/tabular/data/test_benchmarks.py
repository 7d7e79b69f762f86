# SPDX-License-Identifier: Apache-2.0
"""Each set from a tiny file with the columns and the layout of the real one."""

import csv

import pytest
import torch

from conjoin.tabular import ALOI, Adult, CaliforniaHousing, Helena, Higgs, Jannis

ADULT = (
    "age,workclass,fnlwgt,education,educational-num,marital-status,occupation,relationship,race,gender,capital-gain,"
    "capital-loss,hours-per-week,native-country,income"
)
HOUSING = (
    "longitude,latitude,housing_median_age,total_rooms,total_bedrooms,population,households,median_income,"
    "median_house_value,ocean_proximity"
)


def number(row, column):
    return round(1.5 * ((row * 7 + column * 3) % 11), 3)


def adult(path):
    with path.open("w", newline="") as file:
        file.write(ADULT + "\n")
        out = csv.writer(file)
        for row in range(20):
            cells = [number(row, column) for column in range(15)]
            for place in (1, 3, 5, 6, 7, 8, 9, 13):
                cells[place] = "?" if place == 1 and row % 5 == 0 else f"kind {(row + place) % 3}"
            cells[14] = ("<=50K", ">50K")[row % 2]
            out.writerow(cells)


def arff(path, columns, classes):
    head = [f"@RELATION {path.stem}", f"@ATTRIBUTE class {{{','.join(map(str, range(classes)))}}}"]
    head += [f"@ATTRIBUTE V{column + 1} NUMERIC" for column in range(columns)]
    rows = [
        ",".join(map(str, [row % classes, *(number(row, c) for c in range(columns))])) for row in range(20)
    ]
    path.write_text("\n".join([*head, "", "@DATA", *rows]) + "\n")


def plain(path, header, make):
    path.write_text("\n".join([header, *(",".join(map(str, make(row))) for row in range(20))]) + "\n")


def test_adult(tmp_path):
    adult(tmp_path / "adult.csv")
    data = Adult(tmp_path)
    schema = data.load()
    assert [column.name for column in schema.numeric] == [
        "age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week",
    ]  # fmt: skip
    assert [column.name for column in schema.categorical][0::7] == ["workclass", "native-country"]
    assert schema.categorical[0].values == ("", "kind 0", "kind 1", "kind 2")  # "?" is a category
    assert (data.task, data.class_names) == ("classification", ("<=50K", ">50K"))
    x = data.build("train").fields["x"]
    assert x.shape == (16, 14)
    assert (x[:, :6].min(), x[:, :6].max()) == (0, 1)  # scaled as in the release, on training rows


@pytest.mark.parametrize(("cls", "columns", "classes"), [(Helena, 27, 100), (Jannis, 54, 4)])
def test_arff_sets(tmp_path, cls, columns, classes):
    arff(tmp_path / cls.file, columns, classes)
    data = cls(tmp_path / cls.file)
    schema = data.load()
    assert (len(schema.numeric), schema.categories, schema.missing) == (columns, (), ())
    assert data.num_classes == min(20, classes)
    assert schema.names[0] == "V1"


def test_aloi(tmp_path):
    header = ",".join([*(f"f{column}" for column in range(128)), "class"])
    plain(tmp_path / "aloi.csv", header, lambda row: [*(number(row, c) for c in range(128)), row % 4])
    data = ALOI(tmp_path)
    assert len(data.load().numeric) == 128
    assert data.num_classes == 4
    (tmp_path / "bare").mkdir()
    lines = (tmp_path / "aloi.csv").read_text().partition("\n")[2]
    (tmp_path / "bare/aloi.csv").write_text(lines)
    bare = ALOI(tmp_path / "bare")
    bare.load()
    for split in ("train", "val", "test"):
        assert torch.equal(bare.build(split).fields["x"], data.build(split).fields["x"])
        assert torch.equal(bare.build(split).fields["label"], data.build(split).fields["label"])


def test_higgs(tmp_path):
    header = ",".join(["class", *(f"f{column}" for column in range(28))])
    kinds = ("0.0", "1.08", "2.17", "2.55")

    def row(place):
        cells = [number(place, column) for column in range(28)]
        for column in (8, 12, 16, 20):
            cells[column] = kinds[(place + column) % 4]
        if place == 3:
            cells[27] = "?"  # OpenML's file misses values in one row
        return [place % 2, *cells]

    plain(tmp_path / "higgs.csv", header, row)
    data = Higgs(tmp_path, val_fraction=0.05, test_fraction=0.05)
    schema = data.load()
    assert schema.categories == (4, 4, 4, 4)
    assert [column.name for column in schema.categorical] == ["f8", "f12", "f16", "f20"]
    assert len(schema.numeric) == 24
    assert data.class_names == ("0", "1")


def test_california(tmp_path):
    def row(place):
        cells = [number(place, column) for column in range(8)]
        if place in (2, 9):
            cells[4] = ""
        return [*cells, 1000.0 * (place + 1), "INLAND"]

    plain(tmp_path / "housing.csv", HOUSING, row)
    data = CaliforniaHousing(tmp_path)
    schema = data.load()
    assert (data.task, len(schema.numeric), schema.categories, schema.missing) == ("regression", 8, (), ())
    assert sum(len(data.build(split)) for split in ("train", "val", "test")) == 18
    assert 1000 < data.target_scale < 20_000
    (tmp_path / "housing.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks total_bedrooms or ocean_proximity"):
        CaliforniaHousing(tmp_path).load()


def test_refusals(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no jannis\.arff, the file of Jannis"):
        Jannis(tmp_path)
    arff(tmp_path / "jannis.arff", 27, 4)
    with pytest.raises(ValueError, match="has 28 columns; Jannis has 55, the target among them"):
        Jannis(tmp_path).load()
    adult(tmp_path / "adult.csv")
    text = (tmp_path / "adult.csv").read_text()
    (tmp_path / "adult.csv").write_text(
        text.replace("education,educational-num", "educational-num,education")
    )
    with pytest.raises(
        ValueError, match="column 'educational-num' where the file of Adult has 'education': rename"
    ):
        Adult(tmp_path).load()
    (tmp_path / "adult.csv").write_text(text.partition("\n")[2])
    with pytest.raises(
        ValueError, match="more than once: rename it, or add the line of names if there is none"
    ):
        Adult(tmp_path).load()
    (tmp_path / "aloi.csv").write_text("\n")
    with pytest.raises(ValueError, match=r"aloi\.csv holds no row"):
        ALOI(tmp_path).load()

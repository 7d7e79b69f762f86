# SPDX-License-Identifier: Apache-2.0
import builtins
import gzip

import pytest

from conjoin.tabular.data import read_arff, read_cells, read_csv, read_parquet

CSV = 'age, city,"income, net"\n39, "Oslo, N",1.5\n\n50,Rome,?\n'


def test_csv_with_quotes_blanks_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeff" + CSV)
    assert read_csv(path) == {"age": ("39", "50"), "city": ("Oslo, N", "Rome"), "income, net": ("1.5", "?")}
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write(CSV)
    assert read_cells(tmp_path / "a.csv.gz") == (read_csv(path), frozenset())


def test_csv_without_header_and_tabs(tmp_path):
    (tmp_path / "a.tsv").write_text("1\t2\n3\t4\n")
    assert read_cells(tmp_path / "a.tsv", header=False)[0] == {"0": ("1", "3"), "1": ("2", "4")}
    (tmp_path / "b.csv").write_text("a;b\n1;2\n")
    assert read_csv(tmp_path / "b.csv", delimiter=";") == {"a": ("1",), "b": ("2",)}
    assert read_csv(tmp_path / "b.csv", delimiter=";", header=None) == {"a": ("1",), "b": ("2",)}
    assert read_cells(tmp_path / "a.tsv")[0] == {"1": ("3",), "2": ("4",)}
    (tmp_path / "c.csv").write_text("1,-2e3\n3,4\n")
    assert read_csv(tmp_path / "c.csv", header=None) == {"0": ("1", "3"), "1": ("-2e3", "4")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 cells where there are 2 columns"),
        ("a,b\n", "holds no row"),
        ("", "holds no row"),
        ("a,a\n1,2\n", "names the column 'a' more than once"),
    ],
)
def test_csv_refusals(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(path)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("a\nn\xe9e\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not text in UTF-8"):
        read_csv(tmp_path / "latin.csv")
    (tmp_path / "a.csv.gz").write_text("a\n1\n")
    with pytest.raises(ValueError, match="is no gzip file"):
        read_csv(tmp_path / "a.csv.gz")
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"tables end in \.csv"):
        read_cells(tmp_path / "a.xlsx")


ARFF = """% a comment
@RELATION 'a table'

@attribute class {1,'class two',3}
@ATTRIBUTE 'my age'\tREAL
@attribute count integer
@attribute word string
@DATA
1,2.5,3,'a, b'
% between
'class two',?,4,c

"""


def test_arff(tmp_path):
    path = tmp_path / "a.arff"
    path.write_text(ARFF)
    cells, nominal = read_arff(path)
    assert cells == {
        "class": ("1", "class two"),
        "my age": ("2.5", "?"),
        "count": ("3", "4"),
        "word": ("a, b", "c"),
    }
    assert nominal == {"class", "word"}
    assert read_cells(path) == (cells, nominal)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@relation a\n@attribute b real\n@data\n{0 1}\n", "line 4: sparse ARFF"),
        ("@relation a\n@attribute b relational\n@data\n1\n", "line 2: 'relational' is no type"),
        ("@relation a\n@attribute b\n@data\n1\n", "line 2: an attribute needs a name and a type"),
        ("a,b\n1,2\n", "line 1: 'a,b' is not a line of an ARFF header"),
        ("@relation a\n@attribute b real\n@data\n", "holds no row"),
        ("@relation a\n@data\n1\n", "holds no attribute"),
        ("@relation a\n@attribute b real\n@data\n1,2\n", "line 4: 2 cells where there are 1 columns"),
    ],
)
def test_arff_refusals(tmp_path, text, message):
    path = tmp_path / "a.arff"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_arff(path)


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"a": [1.5, None], "b": ["x", "y"]}), path)
    assert read_cells(path) == ({"a": [1.5, None], "b": ["x", "y"]}, frozenset())
    parquet.write_table(
        pyarrow.table({"a": pyarrow.array([], pyarrow.float64())}), tmp_path / "empty.parquet"
    )
    with pytest.raises(ValueError, match="holds no row"):
        read_parquet(tmp_path / "empty.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="no readable parquet file"):
        read_parquet(tmp_path / "text.parquet")
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "conjoin-tabular\[parquet\]"'):
        read_parquet(tmp_path / "a.parquet")

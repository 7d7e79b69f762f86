# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from conjoin.tabular import Table
from conjoin.tabular.table import numbers, words


def test_kinds_are_inferred_from_all_cells_or_named():
    cells = {
        "a": ("1", " 2.5", "?"),
        "b": ("x", "", "y"),
        "c": ("1", "2", "1"),
        "d": ("3", "4", "oops"),
        "e": ("", "", "NA"),
    }
    table = Table.from_cells(cells, categorical=("c",))
    assert table.numeric == ("a",)
    assert table.categorical == ("b", "c", "d", "e")  # a column without any value is not called numeric
    np.testing.assert_array_equal(table["a"], [1, 2.5, np.nan])
    assert table["b"].tolist() == ["x", None, "y"]
    assert table["c"].tolist() == ["1", "2", "1"]
    assert np.isnan(Table.from_cells(cells, numeric=("e",))["e"]).all()
    assert Table.from_cells({"f": (1, None, float("nan"))}).numeric == ("f",)


def test_fast_and_slow_conversion_agree():
    slow = numbers(("1e3", "-0.5", "none"), "a", missing=("none",))
    np.testing.assert_array_equal(slow, [1000, -0.5, np.nan])
    np.testing.assert_array_equal(numbers(("1e3", "-0.5"), "a"), slow[:2])
    assert words((" a ", None, float("nan"), 3)).tolist() == ["a", None, None, "3"]


def test_rows_and_columns_are_chosen():
    table = Table({"a": np.arange(4.0), "b": np.array(list("wxyz"), object)})
    assert len(table) == 4
    assert table.rows(np.array([3, 0]))["b"].tolist() == ["z", "w"]
    assert table.without(("a",)).names == ("b",)


def test_guards():
    with pytest.raises(ValueError, match=r"Column 'a', row 2: 'x' is no number"):
        numbers(("1", "x"), "a")
    with pytest.raises(ValueError, match="Column 'a', row 2 is infinite"):
        numbers(("1", "inf"), "a")
    with pytest.raises(ValueError, match=r"columns of one length, got \{'a': 1, 'b': 2\}"):
        Table({"a": np.zeros(1), "b": np.zeros(2)})
    with pytest.raises(ValueError, match="got none"):
        Table({})
    table = Table({"a": np.zeros(1)})
    with pytest.raises(ValueError, match="no column 'b'; there are a"):
        table.without(("b",))
    with pytest.raises(ValueError, match="no column 'z'; there are a"):
        Table.from_cells({"a": ("1",)}, categorical=("z",))

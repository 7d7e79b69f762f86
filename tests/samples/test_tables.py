# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from conjoin import samples
from conjoin.samples.tables import TABLES

COUNTS = {"diamonds": (53_940, 9), "churn": (7_043, 19), "credit": (4_454, 13), "flights": (30_000, 9)}


@pytest.mark.parametrize("name", TABLES)
def test_table_is_as_the_manifest_says(name):
    table, entry = samples.table(name), samples.manifest()[name]
    assert (len(table), len(table.columns)) == COUNTS[name]
    assert entry["count"] == len(table)
    assert np.bincount(table.split).tolist() == list(entry["splits"].values())
    assert entry["bytes"] < 400_000
    for values in (*table.columns.values(), *table.targets.values()):
        assert len(values) == len(table)
        assert values.dtype in (np.float64, object)
        with pytest.raises(ValueError, match="read-only"):
            values[0] = values[1]
    assert set(table.targets["classification"]) == set(table.class_names)
    assert "Copyright" in samples.licence(name)
    assert samples.load(name) is table


def test_values_are_the_source_s():
    """Facts that the packages' own documentation states."""
    diamonds = samples.table("diamonds")
    price = diamonds.targets["regression"]
    assert (price.min(), price.max()) == (326, 18_823)
    assert (diamonds.columns["carat"].min(), diamonds.columns["carat"].max()) == (0.2, 5.01)
    assert set(diamonds.columns["cut"]) == {"Fair", "Good", "Very Good", "Premium", "Ideal"}
    # A diamond's class is where its price lies.
    for place, name in enumerate(diamonds.class_names):
        inside = price[diamonds.targets["classification"] == name]
        assert inside.min() > (0, 840, 1705, 3465, 6312)[place] - 1
    churn = samples.table("churn")
    assert np.isnan(churn.columns["total_charges"]).sum() == 11
    assert (churn.targets["classification"] == "yes").sum() == 1869
    credit = samples.table("credit")
    assert np.isnan(credit.columns["Income"]).sum() == 381
    assert sum(value is None for value in credit.columns["Home"]) == 6
    flights = samples.table("flights")
    late = flights.targets["classification"] == "late"
    assert np.array_equal(late, flights.targets["regression"] > 15)
    assert set(flights.columns["origin"]) == {"EWR", "JFK", "LGA"}


def test_unknown_table():
    with pytest.raises(
        ValueError, match="No embedded table is called 'iris'; there are diamonds, churn, credit, flights"
    ):
        samples.table("iris")

# SPDX-License-Identifier: Apache-2.0
"""Order, agreement with a probe, tables that fit, files."""

import csv
import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from conjoin.core.cli.ranking import COLUMNS, Ranked, add_clid, agreement, cautions, order, show, write


def ranked(name: str, test: float | None = None, metric: str = "accuracy", **values: float) -> Ranked:
    known = dict.fromkeys(COLUMNS, math.nan) | values
    probe = {} if test is None else {"metric": metric, "val": test, "test": test}
    return Ranked(name, f"{name}.ckpt", "IJEPA", 100, 8, known, probe)


def listed(runs: list[Ranked]) -> str:
    return "".join(one.name for one in runs)


def test_order_follows_each_measures_direction() -> None:
    runs = [
        ranked("a", rankme=3, coherence=1, alpha_req=0.4),
        ranked("b", rankme=5, coherence=math.inf, alpha_req=1.1),
        ranked("c", coherence=2, alpha_req=1.5),
    ]
    assert listed(order(runs, "rankme")) == "bac"
    assert listed(order(runs, "coherence")) == "acb"
    assert listed(order(runs, "alpha_req")) == "bca"


def test_clid_adds_standardised_parts() -> None:
    parts = [(0.2, 3.0), (0.4, 1.0), (0.6, 8.0)]
    runs = [ranked("x", cluster_learnability=c, intrinsic_dimension=i) for c, i in parts]
    add_clid(runs)
    spread = math.sqrt(((3 - 4) ** 2 + (1 - 4) ** 2 + (8 - 4) ** 2) / 2)
    expected = [-1 + (3 - 4) / spread, (1 - 4) / spread, 1 + (8 - 4) / spread]
    assert [one.values["clid"] for one in runs] == pytest.approx(expected)
    for few in ([runs[0]], [runs[0], ranked("y")], [runs[0], runs[0]]):
        add_clid(few)
        assert all(math.isnan(one.values["clid"]) for one in few)


def test_agreement_and_regret() -> None:
    runs = [
        ranked("a", 0.5, rankme=1, self_cluster=0.9, lidar=2),
        ranked("b", 0.7, rankme=3, self_cluster=0.1, lidar=3),
        ranked("c", 0.6, rankme=2, self_cluster=0.2),
        ranked("unlabelled", rankme=99),
    ]
    found = {one.measure: one for one in agreement(runs)}
    assert set(found) == {"rankme", "self_cluster"}  # LiDAR has two runs only
    assert found["rankme"].runs == 3
    assert (found["rankme"].spearman, found["rankme"].kendall) == pytest.approx((1, 1))
    assert found["self_cluster"].spearman == pytest.approx(1)  # low is good
    assert found["rankme"].regret == 0
    wrong = agreement([ranked("a", 0.9, rankme=1), ranked("b", 0.2, rankme=2), ranked("c", 0.4, rankme=3)])
    assert wrong[0].regret == pytest.approx(0.5)
    assert wrong[0].spearman == pytest.approx(-0.5)


def test_agreement_with_an_error_is_turned() -> None:
    runs = [ranked(name, error, "rmse", rankme=error) for name, error in (("a", 1.0), ("b", 2.0), ("c", 4.0))]
    found = agreement(runs)[0]
    assert found.spearman == pytest.approx(-1)
    assert found.regret == pytest.approx(3)


@pytest.mark.parametrize("width", [60, 100, 300])
def test_tables_fit_and_show_every_measure(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    runs = [
        ranked(f"recipe/version_{i}", 0.5 + i / 10, **dict.fromkeys(COLUMNS, 1.2345 + i)) for i in range(3)
    ]
    show(console, order(runs, "nesum"), agreement(runs), "nesum", "projection of train")
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    for name, shown in (("version_2", "3.234"), ("version_0", "50.0"), ("Spearman", "+1.00")):
        assert name in text
        assert shown in text
    assert text.count("version_0") == text.count("version_2")
    assert "ordered by NESum" in " ".join(text.split())
    assert "…" not in text
    for column in ("RankMe", "LiDAR", "alignment", "ID"):
        assert column in text


def test_few_labelled_runs_are_said_to_be_few() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    show(console, [ranked("a", 0.5), ranked("b")], [], "rankme", "x")
    assert "at least three runs with labels" in console.export_text()


def test_cautions() -> None:
    one = ranked("a", lidar=2.0)
    assert cautions([one, ranked("b", lidar=1.0)]) == []
    other = Ranked("b", "b.ckpt", "VICReg", 50, 8, one.values)
    said = " ".join(cautions([one, other]))
    assert "(100 x 8, 50 x 8)" in said
    assert "(IJEPA, VICReg)" in said
    assert "for any run: the training transform" in cautions([ranked("a"), ranked("b")])[0]
    assert "for b: the training transform" in cautions([one, ranked("b")])[0]


def test_files(tmp_path: Path) -> None:
    runs = [ranked("a", 0.5, rankme=2.5, condition=math.inf), ranked("b", rankme=1.5)]
    write(tmp_path / "r.json", runs, [], {"by": "rankme"})
    whole = json.loads((tmp_path / "r.json").read_text())
    assert (whole["by"], whole["agreement"]) == ("rankme", [])
    assert [line["place"] for line in whole["runs"]] == [1, 2]
    assert whole["runs"][0]["rankme"] == 2.5
    assert (whole["runs"][0]["condition"], whole["runs"][0]["lidar"]) == ("inf", None)
    assert whole["runs"][0]["probe"]["test"] == 0.5
    write(tmp_path / "r.csv", runs, [], {})
    with (tmp_path / "r.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == ["a", "b"]
    assert [line["probe_test"] for line in lines] == ["0.5", ""]
    assert (lines[0]["condition"], lines[0]["lidar"]) == ("inf", "")

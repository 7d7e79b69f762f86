# SPDX-License-Identifier: Apache-2.0
import json
import re
from pathlib import Path

from conjoin.core.report.evaluation import best_probe, evaluation_section, reported, scores
from conjoin.core.report.headline import facts
from conjoin.core.report.health import checks
from conjoin.core.report.run import Run


def test_rows_are_sorted_and_the_best_is_bold(run_dir: Path) -> None:
    body = evaluation_section(Run.read(run_dir)).body
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', body)
    assert heads == ["probe", "labels per class", "teacher", "random init", "raw input"]
    firsts = re.findall(r'<tr><th scope="row">([^<]*)</th><th scope="row">([^<]*)</th>', body)
    assert firsts == [(probe, labels) for probe in ("linear", "knn") for labels in ("10", "100", "all")]
    assert re.findall(r"<strong>([^<]*)</strong>", body) == [
        "22.0 ± 1.2",
        "33.0 ± 1.2",
        "43.0",
        "19.0 ± 1.2",
        "26.0 ± 1.2",
        "33.0",
    ]


def test_bars_carry_values_and_deviations(run_dir: Path) -> None:
    body = evaluation_section(Run.read(run_dir)).body
    spec = json.loads(re.search(r'data-figure="fig-evaluation-test-accuracy">(.*?)</script>', body)[1])
    assert [trace["name"] for trace in spec["data"]] == ["teacher", "random init", "raw input"]
    assert spec["data"][0]["y"] == [22, 33, 43, 19, 26, 32]
    assert spec["data"][0]["error_y"]["array"] == [1.2, 1.2, None, 1.2, 1.2, None]


def test_validation_rows_are_folded_away(run_dir: Path) -> None:
    path = run_dir / "evaluation.json"
    table = json.loads(path.read_text())
    table["rows"] += [row | {"split": "val", "value": 0.99} for row in table["rows"][:3]]
    path.write_text(json.dumps(table))
    run = Run.read(run_dir)
    assert {score.split for score in reported(scores(run))} == {"test"}
    body = evaluation_section(run).body
    assert "99.0" not in body.split("<details>")[0]
    assert "99.0" in body.split("<details>")[1]


def test_headline_probe() -> None:
    def rows(*kinds: tuple[str, int | None]) -> Run:
        made = [{"features": "teacher", "probe": p, "labels_per_class": b, "value": 0.1} for p, b in kinds]
        return Run(Path("run"), evaluation={"rows": made})

    assert best_probe(scores(rows(("knn", None), ("linear", 10), ("linear", 100)))) == ("linear", 100)
    assert best_probe(scores(rows(("linear", 10), ("linear", None)))) == ("linear", None)
    assert best_probe(scores(rows(("knn", 10)))) == ("knn", 10)
    assert best_probe([]) is None


def test_names_from_the_file_are_escaped_and_gaps_dashed(run_dir: Path) -> None:
    rows = [
        {"features": "<img src=x>", "probe": "linear", "labels_per_class": 10, "value": 0.5},
        {"features": "raw input", "probe": "knn", "labels_per_class": 10, "value": 0.4},
    ]
    (run_dir / "evaluation.json").write_text(json.dumps({"rows": rows}))
    body = evaluation_section(Run.read(run_dir)).body
    assert "<img" not in body
    assert "<td>\u2013</td>" in body


def test_absent(run_dir: Path) -> None:
    (run_dir / "evaluation.json").unlink()
    assert "has no evaluation.json" in evaluation_section(Run.read(run_dir)).body


def test_errors_are_in_their_own_units_and_the_smallest_is_bold(run_dir: Path) -> None:
    values = {"teacher": 512.34, "random init": 700.5, "raw input": 623.1}
    rows = [
        {"features": name, "probe": "linear", "labels_per_class": budget, "value": value, "metric": "rmse"}
        for name, value in values.items()
        for budget in (100, None)
    ]
    (run_dir / "evaluation.json").write_text(json.dumps({"rows": rows, "target_scale": 1000.0}))
    run = Run.read(run_dir)
    body = evaluation_section(run).body
    assert re.findall(r"<strong>([^<]*)</strong>", body) == ["512.3", "512.3"]
    assert "RMSE in original units on the test split" in body
    assert "labels in all" in body
    spec = json.loads(re.search(r'data-figure="fig-evaluation-test-rmse">(.*?)</script>', body)[1])
    assert spec["data"][0]["y"] == [512.34, 512.34]
    found = {check.title: (check.state, check.value) for check in checks(run)}
    assert found["gain over raw input"] == ("good", "-17.8\u202f% error")
    told = dict(facts(run, None))
    assert told["linear RMSE, all labels, test split"] == "512.3"


def test_several_labels_and_episodes_have_tables_of_their_own(run_dir: Path) -> None:
    rows = [
        {"features": "teacher", "probe": "linear", "value": 0.91, "metric": "macro_auc"},
        {"features": "teacher", "probe": "5-way", "labels_per_class": 10, "value": 0.8}
        | {"std": 0.02, "draws": 10, "metric": "few_shot_accuracy"},
    ]
    (run_dir / "evaluation.json").write_text(json.dumps({"rows": rows}))
    body = evaluation_section(Run.read(run_dir)).body
    assert "macro AUC in % on the test split" in body
    assert "few-shot accuracy in % on the test split, mean ± standard deviation over 10 episodes" in body

# SPDX-License-Identifier: Apache-2.0
import io
import json
from pathlib import Path

from rich.console import Console

from conjoin.core.evaluation import Row, Table


def rows() -> Table:
    return Table([
        Row("teacher", "linear", 10, "val", "accuracy", 0.9, 0.01, 3),
        Row("teacher", "linear", 10, "test", "accuracy", 0.5, 0.02, 3),
        Row("raw input", "linear", 10, "test", "accuracy", 0.25, 0.0, 3),
        Row("teacher", "linear", None, "test", "accuracy", 0.75, 0.0, 1),
    ])  # fmt: skip


def test_table_round_trip(tmp_path: Path) -> None:
    text = rows().to_json(tmp_path / "deep" / "evaluation.json")
    assert Table.from_json(text) == rows()
    assert (
        json.loads((tmp_path / "deep" / "evaluation.json").read_text())["rows"][3]["labels_per_class"] is None
    )


def test_table_printed() -> None:
    out = io.StringIO()
    Console(file=out, width=90).print(rows())
    text = out.getvalue()
    for words in ("10 / class", "all labels", "50.0 ± 2.0", "75.0", "25.0"):
        assert words in text
    assert "90.0" not in text  # validation is for choices

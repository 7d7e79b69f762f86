# SPDX-License-Identifier: Apache-2.0
"""The whole evaluation on a stand-in."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import conjoin.core.checkpoint
from conjoin.core.evaluation import evaluate

sys.path.insert(0, str(Path(__file__).parent))
from standin import WIDTH, Data, Model


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conjoin.core.checkpoint, "fresh", lambda model: Model(trained=False).eval())


@pytest.mark.usefixtures("_fresh")
def test_the_trained_model_beats_its_baselines() -> None:
    table = evaluate(Model(), Data(), budgets=(5, 1000, None), draws=2, progress=False)
    assert {row.labels_per_class for row in table} == {5, None}  # 1000 per class there are not
    assert len(table) == 3 * 2 * 2 * 2
    for probe in ("linear", "knn"):
        found = {
            (row.features, row.budget): row
            for row in table.select(probe=probe, split="test", metric="accuracy")
        }
        assert found["teacher", "all"].value > found["random init", "all"].value + 0.2
        assert found["teacher", "all"].value > 0.8
        assert found["teacher", "5"].draws == 2
        assert found["teacher", "5"].std > 0
        assert found["teacher", "all"].draws == 1
        assert found["teacher", "all"].std == 0
    knn = {row.features: row.value for row in table.select(probe="knn", split="test", labels_per_class=None)}
    assert knn["teacher"] > knn["raw input"]
    again = evaluate(Model(), Data(), budgets=(5, 1000, None), draws=2, progress=False)
    assert again == table


def test_attentive_probe_runs_under_inference_mode_and_skips_raw_input() -> None:
    with torch.inference_mode():
        table = evaluate(
            Model(), Data(), budgets=(None,), probes=("attentive",), baselines=("raw",), progress=False
        )
    assert {row.features for row in table} == {"teacher"}
    assert table.rows[1].value > 0.5


def test_guards() -> None:
    with pytest.raises(ValueError, match="unknown probe 'svm': choose among linear, knn, attentive"):
        evaluate(Model(), Data(), probes=("svm",), progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown baseline 'pca'"):
        evaluate(Model(), Data(), baselines=("pca",), progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="draws must be at least 1"):
        evaluate(Model(), Data(), draws=0, progress=False)

    class Unlabelled(Data):
        def evaluation_dataloader(self, split: str) -> Any:
            return [{"x": torch.ones(3, 1, 1, WIDTH)}]

    with pytest.raises(ValueError, match="no sample of the train split has a label"):
        evaluate(Model(), Unlabelled(), baselines=(), progress=False)

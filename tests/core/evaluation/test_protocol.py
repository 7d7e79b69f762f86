# SPDX-License-Identifier: Apache-2.0
"""The whole evaluation on a stand-in."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import conjoin.core.checkpoint
from conjoin.core.evaluation import evaluate
from conjoin.core.evaluation.regression import RegressionTable

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
    with pytest.raises(ValueError, match="unknown probe 'tree': choose among linear, knn, attentive"):
        evaluate(Model(), Data(), probes=("tree",), progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown baseline 'pca'"):
        evaluate(Model(), Data(), baselines=("pca",), progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="draws must be at least 1"):
        evaluate(Model(), Data(), draws=0, progress=False)

    class Unlabelled(Data):
        def evaluation_dataloader(self, split: str) -> Any:
            return [{"x": torch.ones(3, 1, 1, WIDTH)}]

    with pytest.raises(ValueError, match="no sample of the train split has a label"):
        evaluate(Model(), Unlabelled(), baselines=(), progress=False)


def test_the_data_module_says_what_the_raw_input_is() -> None:
    class Told(Data):
        def raw_features(self, batch: Any) -> torch.Tensor:
            return batch["x"].flatten(1)[:, :3]

    found = {}
    for data in (Data(), Told()):
        table = evaluate(
            Model(), data, budgets=(None,), probes=("linear",), baselines=("raw",), progress=False
        )
        found[type(data)] = table.select(features="raw input", split="test").rows[0].value
    assert found[Told] != found[Data]


def test_mlp_probe_classifies() -> None:
    table = evaluate(
        Model(), Data(), budgets=(5, None), probes=("mlp",), baselines=(), draws=2, progress=False
    )
    found = {row.budget: row for row in table.select(split="test")}
    assert found["all"].value > 0.75
    assert found["5"].draws == 2


class Numbers(Data):
    task = "regression"
    target_scale = 8.0

    def evaluation_dataloader(self, split: str) -> Any:
        for batch in super().evaluation_dataloader(split):
            batch.pop("label")
            yield batch | {"target": batch["x"].flatten(1)[:, 0] / 2}


@pytest.mark.usefixtures("_fresh")
def test_regression_is_measured_where_the_data_ask_for_it() -> None:
    with torch.inference_mode():
        table = evaluate(Model(), Numbers(), budgets=(None,), probes=("linear", "mlp"), progress=False)
    assert isinstance(table, RegressionTable)
    assert table.target_scale == 8
    assert {row.metric for row in table} == {"rmse"}
    linear = {row.features: row.value for row in table.select(probe="linear", split="test")}
    assert linear["teacher"] < 0.1 < linear["random init"]
    for probe in ("attentive", "svm"):
        with pytest.raises(ValueError, match=f"no {probe} probe for a regression task: choose among linear"):
            evaluate(Model(), Numbers(), probes=(probe,), baselines=(), progress=False)
    with pytest.raises(ValueError, match="few-shot episodes need classes, and this is a regression task"):
        evaluate(Model(), Numbers(), few_shot=((2, 3),), progress=False)


class Several(Data):
    """Two labels: which of the first two inputs are large."""

    label_names = ("first", "second")
    num_classes = None

    def evaluation_dataloader(self, split: str) -> Any:
        for batch in super().evaluation_dataloader(split):
            yield batch | {"labels": (batch["x"].flatten(1)[:, :2] > 1).float()}


@pytest.mark.usefixtures("_fresh")
def test_several_labels_are_measured_by_macro_auc() -> None:
    with torch.inference_mode():
        table = evaluate(Model(), Several(), progress=False)
    assert {(row.probe, row.metric, row.labels_per_class) for row in table} == {("linear", "macro_auc", None)}
    found = {row.features: row.value for row in table.select(split="test")}
    assert found["teacher"] > 0.99
    assert found["teacher"] > found["random init"] + 0.1
    with pytest.raises(ValueError, match="no knn probe for a multilabel task: choose among linear, att"):
        evaluate(Model(), Several(), probes=("knn",), progress=False)
    with pytest.raises(ValueError, match="have null"):
        evaluate(Model(), Several(), budgets=(10,), progress=False)


def test_attentive_probe_of_several_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    from conjoin.core.evaluation import protocol

    asked = {}
    whole = protocol.multilabel_rows

    def short(*args: Any, **options: Any) -> Any:
        asked.update(options)
        return whole(*args, **options, steps=60, every=20, lr=3e-2, weight_decay=0.0)

    monkeypatch.setattr(protocol, "multilabel_rows", short)
    model = Model()
    model.encoder.heads = 3
    with torch.inference_mode():
        table = evaluate(model, Several(), probes=("attentive",), baselines=("raw",), progress=False)
    assert asked["heads"] == 3
    assert [row.features for row in table.select(split="test")] == ["teacher"]
    # One token, so the attention is a linear map: it can rank the first input nearly perfectly.
    assert table.select(split="test").rows[0].value > 0.9


def test_the_user_may_ask_for_another_task() -> None:
    data = Several()
    data.num_classes = 3
    table = evaluate(Model(), data, budgets=(None,), baselines=(), task="classification", progress=False)
    assert {row.metric for row in table} == {"accuracy"}
    with pytest.raises(ValueError, match="task must be one of classification, regression, multilabel"):
        evaluate(Model(), data, task="ranking", progress=False)  # type: ignore[arg-type]


def test_support_vectors_and_episodes() -> None:
    pytest.importorskip("sklearn")
    data = Data()
    data.sizes = (("train", 120), ("val", 60), ("test", 120))
    table = evaluate(
        Model(),
        data,
        budgets=(None,),
        probes=("svm",),
        baselines=("raw",),
        few_shot=((2, 5), (2, 1)),
        progress=False,
    )
    found = {(r.features, r.probe, r.budget): r for r in table.select(split="test")}
    assert found["teacher", "svm", "all"].value > 0.75
    assert found["teacher", "2-way", "5"].metric == "few_shot_accuracy"
    assert found["teacher", "2-way", "5"].draws == 10
    assert found["teacher", "2-way", "5"].value > found["teacher", "2-way", "1"].value - 0.05
    assert found["raw input", "2-way", "5"].value < found["teacher", "2-way", "5"].value


class Deep(Model):
    """Its last block alone sees nothing; together with the earlier ones it sees the classes."""

    passes = 0

    def embed_each(self, batch: Any, layers: Sequence[int]) -> list[torch.Tensor]:
        self.passes += 1
        last = torch.zeros(len(batch["x"]), 2)
        return [last if count == 1 else torch.cat((self.embed(batch), last), dim=1) for count in layers]


def test_validation_chooses_among_layers() -> None:
    scores = {}
    for layers in ((1, 1), (4,), (1, 4)):
        model = Deep()
        table = evaluate(model, Data(), budgets=(None,), baselines=(), layers=layers, progress=False)
        assert model.passes == sum(-(-count // 32) for _, count in Data.sizes)  # one for all choices
        scores[layers] = [(row.probe, row.split, row.value) for row in table]
    assert scores[1, 4] == scores[4,] != scores[1, 1]
    with pytest.raises(ValueError, match="layers must be one or more numbers of at least 1, got \\(0,\\)"):
        evaluate(Model(), Data(), layers=(0,), progress=False)
    with pytest.raises(ValueError, match="axes must be one or more numbers of at least 1, got \\(\\)"):
        evaluate(Model(), Data(), axes=(), progress=False)

# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from conjoin.core.evaluation.regression import (
    RegressionTable,
    knn_regression,
    regression_rows,
    ridge_probe,
    rmse,
)
from conjoin.core.evaluation.table import Row


def line(count: int, seed: int, noise: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(6, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    x = x * torch.tensor([1, 1, 50, 0.01, 1, 0]) + 3
    y = (
        x[:, 0]
        - 2 * x[:, 1]
        + 30 * x[:, 3]
        + noise * torch.randn(count, generator=generator, dtype=torch.float64)
    )
    return x, y + 100


@pytest.mark.parametrize("count", [80, 4])
def test_ridge_is_scikit_learns(count: int) -> None:
    train, val, test = line(count, 0), line(50, 1), line(70, 2)
    for strength in (1.0, 1e-2):
        found = ridge_probe(train, val, test, strengths=(strength,))
        scaler = StandardScaler().fit(train[0].numpy())
        rival = Ridge(alpha=strength * count).fit(scaler.transform(train[0].numpy()), train[1].numpy())
        for score, (x, y) in ((found.val, val), (found.test, test)):
            error = rival.predict(scaler.transform(x.numpy())) - y.numpy()
            assert score == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)


def test_the_strength_is_chosen_on_validation() -> None:
    train, val, test = line(12, 0, 3.0), line(200, 1, 3.0), line(200, 2, 3.0)
    strengths = (10.0, 1.0, 0.1, 1e-3)
    each = [ridge_probe(train, val, test, strengths=(strength,)) for strength in strengths]
    assert ridge_probe(train, val, test, strengths=strengths) == min(each, key=lambda choice: choice.val)
    with pytest.raises(ValueError, match="at least one L2 strength"):
        ridge_probe(train, val, test, strengths=())


def test_neighbours_are_scikit_learns() -> None:
    train, val, test = line(60, 0), line(30, 1), line(40, 2)
    from conjoin.core.evaluation.knn import knn_spaces

    spaces = {"cosine": knn_spaces(train[0])["cosine"]}
    found = knn_regression(train, val, test, spaces=spaces, ks=(3,))
    rival = KNeighborsRegressor(3, metric="cosine").fit(train[0].numpy(), train[1].numpy())
    assert found.test == pytest.approx(
        rmse(torch.from_numpy(rival.predict(test[0].numpy())), test[1]), rel=1e-6
    )
    assert knn_regression(train, val, test).val <= found.val
    assert knn_regression((train[0][:2], train[1][:2]), val, test, ks=(5,)).setting == 2
    with pytest.raises(ValueError, match="at least one k"):
        knn_regression(train, val, test, spaces={})


@dataclass
class Source:
    name: str = "teacher"
    model: Any = None

    def embed(self, batch: Any) -> torch.Tensor:
        return batch["x"]


class Data:
    """Targets in standard deviations of 20; the last training row has none; batches are uneven."""

    task = "regression"
    target_scale = 20.0

    def rows(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = line({"train": 61, "val": 30, "test": 37}[split], len(split))
        y = (y - 100) / self.target_scale
        if split == "train":
            y[-1] = float("nan")
        return x.float(), y.float()

    def evaluation_dataloader(self, split: str) -> list[dict[str, torch.Tensor]]:
        x, y = self.rows(split)
        index = torch.arange(len(x))
        return [
            {"x": x[i : i + 16], "target": y[i : i + 16], "index": index[i : i + 16]}
            for i in range(0, len(x), 16)
        ]


def measured(**options: Any) -> list[Row]:
    arguments: dict[str, Any] = {
        "budgets": (10, 1000, None),
        "probes": ("linear", "knn", "mlp"),
        "draws": 2,
        "seed": 0,
        "device": torch.device("cpu"),
        "progress": False,
    }
    return regression_rows(Source(), Data(), **(arguments | options))


def test_errors_are_over_whole_splits_in_original_units() -> None:
    found = {(row.probe, row.budget, row.split): row for row in measured()}
    assert len(found) == 3 * 2 * 2  # 1,000 labels there are not
    data = Data()
    (x, y), val, test = data.rows("train"), data.rows("val"), data.rows("test")
    expected = ridge_probe((x[:-1], y[:-1]), val, test)
    row = found["linear", "all", "test"]
    assert row.value == pytest.approx(20 * expected.test, rel=1e-5)
    assert (row.metric, row.draws, row.std) == ("rmse", 1, 0)
    few = found["linear", "10", "test"]
    assert few.draws == 2
    assert few.std > 0
    assert few.value > row.value
    assert measured() == measured()


def test_table_in_both_units_and_back(tmp_path: Any) -> None:
    rows = [
        Row("teacher", "linear", None, "test", "rmse", 10.0, 0.0, 1),
        Row("raw input", "linear", None, "test", "rmse", 30.0, 0.0, 1),
        Row("teacher", "linear", 10, "test", "rmse", 40.0, 1.5, 3),
    ]
    table = RegressionTable(rows, 20.0)
    console = Console(width=120, record=True, file=open(tmp_path / "out", "w"))  # noqa: SIM115
    console.print(table)
    text = console.export_text(styles=True)
    assert "10 (0.500)" in text
    assert "40 ± 1.5 (2.000)" in text
    assert "\x1b[1m10 (0.500)" in text  # the smallest is bold
    assert "\x1b[1m30" not in text
    again = RegressionTable.from_json(table.to_json(tmp_path / "evaluation.json"))
    assert again == table
    assert RegressionTable.from_json((tmp_path / "evaluation.json").read_text()) == table


def test_guards() -> None:
    with pytest.raises(ValueError, match="the attentive probe classifies"):
        measured(probes=("attentive",))

    class Untold(Data):
        def rows(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
            x, y = super().rows(split)
            return x, torch.full_like(y, float("nan")) if split == "val" else y

    with pytest.raises(ValueError, match="no sample of the val split has a target"):
        regression_rows(Source(), Untold(), (None,), ("linear",), 1, 0, torch.device("cpu"), False)

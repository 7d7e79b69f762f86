# SPDX-License-Identifier: Apache-2.0
"""A recipe for each of the paper's six tables, with its columns, that runs on a file in the set's layout."""

import csv
import itertools

import pytest
import torch

from conjoin import tabular
from conjoin.core.cli.lightning import ConjoinCLI
from conjoin.core.cli.recipes import catalogue

RECIPES = {name: recipe for name, recipe in catalogue().items() if name.startswith("tjepa")}
# Data module, width, categories, batch.
PAPER = {
    "tjepa-adult": ("Adult", 16, [9, 16, 7, 15, 6, 5, 2, 42], 512),
    "tjepa-aloi": ("ALOI", 16, [], 512),
    "tjepa-california": ("CaliforniaHousing", 16, [], 512),
    "tjepa-helena": ("Helena", 16, [], 256),
    "tjepa-higgs": ("Higgs", 16, [4, 4, 4, 4], 512),
    "tjepa-jannis": ("Jannis", 64, [], 512),
}
ROWS = 500


def test_each_table_of_the_paper_has_a_recipe():
    assert set(RECIPES) == set(PAPER) | {"tjepa-small"}


@pytest.mark.parametrize("name", PAPER)
def test_constants(name):
    config = RECIPES[name].config
    cls, dim, categories, batch = PAPER[name]
    model, data = config["model"]["init_args"], config["data"]
    assert data["class_path"] == f"conjoin.tabular.{cls}"
    module = getattr(tabular, cls)
    assert (model["numeric"], model.get("categories", [])) == (module.numeric_count, categories)
    assert len(categories) == len(module.categorical_places)
    assert (model["dim"], data["init_args"]["batch_size"]) == (dim, batch)
    assert model.get("type_embedding", False) == (name == "tjepa-adult")
    assert [model[key] for key in ("depth", "heads", "hidden", "dropout")] == [16, 2, 64, 0.00185]
    predictor = [model[f"predictor_{key}"] for key in ("dim", "depth", "heads", "hidden", "dropout")]
    assert predictor == [16, 16, 4, 256, 0.00193]
    assert model["masks"]["init_args"] == {
        "targets": 4,
        "context_share": [0.136, 0.368],
        "target_share": [0.156, 0.622],
    }
    assert model["ema"] == [0.996, 1.0]
    assert model["optim"] == {
        "lr": 3.66e-4,
        "start_lr": 0.0,
        "final_lr": 0.0,
        "warmup_epochs": 10,
        "weight_decay": 0.0,
        "final_weight_decay": 0.0,
    }
    assert config["trainer"]["max_epochs"] == 300


def write(path, module, categories):
    """A file of 500 rows; each category comes often enough to be among the training rows."""
    kinds = dict(zip(module.categorical_places, categories, strict=True))
    count = module.numeric_count + len(kinds)
    target = list(module.column_names)[-1:] or ["class"]
    names = [name for name in module.column_names if name not in target] or [f"f{n}" for n in range(count)]

    def row(place):
        cells = [
            f"k{place % kinds[column]}" if column in kinds else round((place * 7 + column * 3) % 101 / 7, 3)
            for column in range(count)
        ]
        return cells, place % 2 if module.task_of_set == "classification" else 1000.0 + place

    rows = [row(place) for place in range(ROWS)]
    if path.suffix == ".arff":
        attributes = [
            "@ATTRIBUTE class {0,1}",
            *(f"@ATTRIBUTE V{column} NUMERIC" for column in range(count)),
        ]
        lines = [",".join(map(str, (label, *cells))) for cells, label in rows]
        path.write_text("\n".join(["@RELATION r", *attributes, "@DATA", *lines]))
        return
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        extra = ["ocean_proximity"] if module is tabular.CaliforniaHousing else []
        first = [*names, *target] if module.target_last else [*target, *names]
        out.writerow([*first, *extra])
        for cells, label in rows:
            out.writerow([*([*cells, label] if module.target_last else [label, *cells]), *extra])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PAPER)
def test_runs_on_a_file_of_its_layout(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cls, _, categories, _ = PAPER[name]
    module = getattr(tabular, cls)
    write(tmp_path / module.file, module, categories)
    flags = {
        "data.root": tmp_path,
        "data.batch_size": 8,
        "trainer.accelerator": "cpu",
        "trainer.fast_dev_run": 1,
        "trainer.enable_progress_bar": "false",
        "model.depth": 1,
        "model.predictor_depth": 1,
    }
    cli = ConjoinCLI("fit", ["--config", name, *itertools.starmap("--{}={}".format, flags.items())])
    assert cli.trainer.global_step == 1
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert cli.model.encoder.tokenizer.categories == tuple(categories)

# SPDX-License-Identifier: Apache-2.0
"""The recipes hold the constants of the paper, and the small one learns."""

import lightning.pytorch as pl
import pytest

from conjoin.biosignal import ECGJEPA, RunMask, SimulatedECG
from conjoin.core.cli.recipes import catalogue
from conjoin.core.evaluation import evaluate
from conjoin.core.optim import Optim

RECIPES = {name: recipe for name, recipe in catalogue().items() if name.startswith("ecgjepa")}
# Encoder, batch per step and device, accumulated batches.
PAPER = {
    "ecgjepa-vitxs-all": ("vit_xs", 2048, 1),
    "ecgjepa-vits-all": ("vit_s", 2048, 1),
    "ecgjepa-vitb-all": ("vit_b", 512, 2),
    "ecgjepa-vits-ptbxl": ("vit_s", 2048, 1),
}


def test_the_catalogue_is_complete():
    assert set(RECIPES) == set(PAPER) | {"ecgjepa-small"}


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_hold_the_released_constants(name):
    config = RECIPES[name].config
    model, data, trainer = config["model"]["init_args"], config["data"]["init_args"], config["trainer"]
    encoder, batch, accumulated = PAPER[name]
    assert (model["encoder"], data["batch_size"]) == (encoder, batch)
    assert trainer.get("accumulate_grad_batches", 1) == accumulated
    assert (model["length"], model["patch"], model["in_channels"], model["registers"]) == (5000, 25, 12, 1)
    assert model["masks"]["init_args"] == {"keep": [0.15, 0.25], "min_block": 10}
    assert model["ema"] == [0.998, 0.9995]
    assert model["optim"] == {
        "lr": 1e-3,
        "start_lr": 1e-6,
        "final_lr": 1e-6,
        "warmup_steps": 10_000,
        "weight_decay": 0.01,
        "final_weight_decay": 0.1,
        "betas": [0.9, 0.99],
        "eps": 1e-6,
        "count_from": 0,
    }
    assert (trainer["max_steps"], trainer["precision"]) == (100_000, "bf16-mixed")
    assert "gradient_clip_val" not in trainer
    assert data["window"] == 5000


def test_sources_of_the_million_recordings():
    found = [RECIPES[f"ecgjepa-{size}-all"].config["data"]["init_args"] for size in ("vitxs", "vits", "vitb")]
    assert found[0]["sources"] == found[1]["sources"] == found[2]["sources"]
    assert {source["name"]: source["weight"] for source in found[0]["sources"]} == {
        "mimic-iv-ecg": 0.7,
        "code-15": 0.1,
        "ptb-xl": 0.05,
        "georgia": 0.0375,
        "ningbo": 0.028125,
        "cpsc": 0.025,
        "ptb": 0.01875,
        "st-petersburg": 0.01875,
        "cpsc-extra": 0.0125,
        "chapman-shaoxing": 0.009375,
    }


@pytest.mark.slow
def test_a_short_run_beats_the_untrained_encoder_and_the_samples_themselves():
    """A third of the small recipe; conditions by macro AUC, linear probe on the mean of the tokens."""
    config = RECIPES["ecgjepa-small"].config["model"]["init_args"]
    options = {key: value for key, value in config.items() if key not in ("masks", "optim", "ema")}
    model = ECGJEPA(
        **options,
        masks=RunMask(**config["masks"]["init_args"]),
        ema=tuple(config["ema"]),
        optim=Optim(**config["optim"] | {"betas": tuple(config["optim"]["betas"])}),
        seed=0,
    )
    data = SimulatedECG(batch_size=32, eval_batch_size=128, seed=0)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=700,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(model, datamodule=data)
    table = evaluate(model, data, task="multilabel", budgets=(None,), progress=False)
    auc = {row.features: row.value for row in table.rows if row.split == "test"}
    assert auc["teacher"] > auc["random init"] + 0.02
    assert auc["teacher"] > auc["raw input"] + 0.02

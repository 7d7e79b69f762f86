# SPDX-License-Identifier: Apache-2.0
"""Every recipe of the catalogue: parsed by the real command line, built, and run if it is small."""

import pytest
import torch
from jsonargparse import ArgumentParser

from conjoin.core import spec
from conjoin.core.cli.lightning import ConjoinCLI
from conjoin.core.cli.recipes import catalogue
from conjoin.core.methods import JointEmbedding

RECIPES = catalogue()

# Parameters including the fixed position tables: encoder, predictor. From the release, run at these sizes;
# 448 pixels adds 528 positions (x 1280, x 384) and a 16-pixel patch 1280 * 3 * (256 - 196) weights to H/14.
PAPER = {
    "ijepa-vith14-in1k": (630_762_240, 22_377_728),
    "ijepa-vith16-448-in1k": (630_762_240 + 528 * 1280 + 1280 * 3 * 60, 22_377_728 + 528 * 384),
    "ijepa-vitb16-in1k": (85_797_120, 11_314_176),
    "ijepa-vitl16-in1k": (303_299_584, 22_157_824),
    "ijepa-vitg16-in22k": (1_011_368_576, 29_550_976),
}


class Parsed(ConjoinCLI):
    """The real parser and nothing after it."""

    def instantiate_classes(self):
        self.model = None

    def after_instantiate_classes(self):
        pass


def test_the_catalogue_is_complete():
    assert set(PAPER) | {"ijepa-small"} <= set(RECIPES)
    systems = {recipe.config["model"]["class_path"] for recipe in RECIPES.values()}
    small = {recipe.config["model"]["class_path"] for recipe in RECIPES.values() if recipe.size == "small"}
    assert systems == small, "every system has a recipe that runs in minutes on embedded data"


@pytest.mark.parametrize("name", RECIPES)
def test_describes_itself_and_comments_its_keys(name):
    recipe = RECIPES[name]
    assert len(recipe.description) > 40
    assert recipe.config["model"]["class_path"]
    optim = recipe.text[recipe.text.index("optim:") :].splitlines()[1:7]
    assert all("#" in line for line in optim)


@pytest.mark.parametrize("name", RECIPES)
def test_parses_and_builds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli = Parsed("fit", ["--config", name], run=False)
    config = cli.config["fit"]
    alone = ArgumentParser(exit_on_error=False)  # the paper's data are not here
    alone.add_subclass_arguments(JointEmbedding, "model")
    with torch.device("meta") if RECIPES[name].size == "paper" else torch.device("cpu"):
        model = alone.instantiate_classes(alone.parse_object({"model": config.model})).model
    described = spec.describe(model)
    assert described["class_path"] == config.model.class_path
    if name in PAPER:
        for module, expected in zip((model.encoder, model.predictor), PAPER[name], strict=True):
            assert sum(value.numel() for value in module.state_dict().values()) == expected
        devices = config.trainer.devices * config.trainer.num_nodes
        assert config.data.init_args.batch_size * devices == 2048


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.size == "small"])
def test_small_recipes_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--trainer.fast_dev_run=2", "--trainer.enable_progress_bar=false"]
    cli = ConjoinCLI("fit", ["--config", name, *flags])
    assert cli.trainer.global_step == 2
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert not (tmp_path / "runs").exists()

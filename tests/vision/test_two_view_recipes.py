# SPDX-License-Identifier: Apache-2.0
"""The recipes of the two-view systems: heads fit objectives, batches fit rates, constants are the papers'."""

import pytest
import torch
from jsonargparse import ArgumentParser

from conjoin.core import plugins
from conjoin.core.cli.recipes import catalogue
from conjoin.core.methods import JointEmbedding
from conjoin.core.methods.multi_view import MultiViewBase

BASES = ("Contrastive", "RedundancyReduction", "LocalRedundancyReduction", "SelfDistillation")
FAMILIES = {f"conjoin.core.{name}" for name in (*BASES, "MaskedSelfDistillation")}
RECIPES = {name: r for name, r in catalogue().items() if r.config["model"]["class_path"] in FAMILIES}
OBJECTIVES = {
    *("simclr", "dcl", "spectral", "swav", "barlowtwins", "vicreg", "intl", "wmse"),
    *("vicregl", "lejepa", "byol", "simsiam", "mocov3", "dino", "ibot", "tico"),
}
# Parameters of the projector and peak learning rate x 256 / batch of the papers' ImageNet runs.
PAPERS = {
    "barlowtwins-r50-in1k": (151_027_712, 0.2),
    "vicreg-r50-in1k": (151_044_096, 0.2),
    "vicregl-r50-in1k": (151_044_096, 0.3),
    "intl-r50-in1k": (151_035_904, 0.3),
    "tico-r50-in1k": (9_449_728, 0.2),
    "byol-r50-in1k": (9_449_472, 0.2),
    "simclr-r50-in1k": (None, 0.3),
    "simsiam-r50-in1k": (None, 0.05),
    "mocov3-r50-in1k": (None, 0.6),
    "mocov3-vits16-in1k": (None, 1.5e-4),
    "swav-r50-in1k": (None, 0.3),
    "dino-vits16-in1k": (None, 5e-4),
    "ibot-vits16-in1k": (None, 5e-4),
    "spectral-r50-in1k": (None, 0.05),
}


def build(recipe, device):
    plugins.load()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(JointEmbedding, "model")
    with torch.device(device):
        return parser.instantiate_classes(parser.parse_object({"model": recipe.config["model"]})).model


def inner(recipe):
    """The data module's own arguments."""
    data = recipe.config["data"]["init_args"]
    return data["data"]["init_args"] if "data" in data else data


def test_each_objective_has_a_small_recipe():
    assert {f"{name}-small" for name in OBJECTIVES} <= set(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_head_fits_the_objective(name):
    recipe = RECIPES[name]
    model = build(recipe, "cpu" if recipe.size == "small" else "meta")
    assert isinstance(model, MultiViewBase)
    last = [p.shape[0] for name, p in model.projector.named_parameters() if "norm" not in name][-1]
    arguments = recipe.config["model"]["init_args"]["objective"].get("init_args", {})
    assert arguments.get("dim", last) == last
    if hasattr(model, "predictor") and list(model.predictor.parameters()):
        assert model.predictor.last.out_features == last


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_constants_of_the_papers(name):
    recipe = RECIPES[name]
    count, base = PAPERS[name]
    trainer = recipe.config["trainer"]
    batch = inner(recipe)["batch_size"] * trainer["devices"] * trainer.get("num_nodes", 1)
    lr = recipe.config["model"]["init_args"]["optim"]["lr"]
    assert lr * 256 / batch == pytest.approx(base)
    if count is not None:
        model = build(recipe, "meta")
        assert sum(p.numel() for p in model.projector.parameters()) == count


def test_folders_are_read_large_enough_for_the_smallest_crop():
    from conjoin.vision import transforms

    for name, recipe in RECIPES.items():
        data = recipe.config["data"]
        if "views" not in data["init_args"] or "scale" not in inner(recipe):
            continue
        policy = data["init_args"]["views"]
        options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in policy.get("init_args", {}).items()
        }
        views = getattr(transforms, policy["class_path"].rpartition(".")[2])(**options).layout()
        assert inner(recipe)["scale"][0] <= min(view.scale[0] for view in views), name
        assert views[0].size == inner(recipe)["image_size"], name


@pytest.mark.parametrize("name", ["dino-vits16-in1k", "ibot-vits16-in1k"])
def test_the_centre_warms_up_over_thirty_epochs(name):
    recipe = RECIPES[name]
    objective = recipe.config["model"]["init_args"]["objective"]["init_args"]
    assert objective["warmup_steps"] == 30 * (1_281_167 // 1024)

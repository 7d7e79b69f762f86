# SPDX-License-Identifier: Apache-2.0
"""The recipes of the two-view systems: heads fit objectives, batches fit rates, constants are the papers'."""

import pytest
import torch
from jsonargparse import ArgumentParser

from conjoin.core import plugins
from conjoin.core.cli.recipes import catalogue
from conjoin.core.methods import JointEmbedding
from conjoin.core.methods.multi_view import MultiViewBase
from conjoin.vision import TimmEncoder

BASES = ("Contrastive", "RedundancyReduction", "LocalRedundancyReduction", "SelfDistillation")
FAMILIES = {f"conjoin.core.{name}" for name in (*BASES, "MaskedSelfDistillation")}
RECIPES = {name: r for name, r in catalogue().items() if r.config["model"]["class_path"] in FAMILIES}
OBJECTIVES = {
    *("simclr", "dcl", "supcon", "spectral", "swav", "barlowtwins", "vicreg", "intl", "wmse"),
    *("vicregl", "lejepa", "byol", "simsiam", "mocov3", "dino", "ibot", "tico"),
}
# The published runs: parameters of the projector (None if the source does not say), peak learning rate x
# 256 / batch, batch, epochs.
PAPERS = {
    "barlowtwins-r50-in1k": (151_027_712, 0.2, 2048, 1000),
    "vicreg-r50-in1k": (151_044_096, 0.2, 2048, 1000),
    "vicregl-r50-in1k": (151_044_096, 0.2, 2048, 300),
    "intl-r50-in1k": (151_035_904, 0.3, 256, 800),
    "tico-r50-in1k": (9_449_728, 0.2, 256, 100),
    "byol-r50-in1k": (9_449_472, 0.2, 4096, 1000),
    "simclr-r50-in1k": (None, 0.3, 4096, 100),
    "simsiam-r50-in1k": (None, 0.05, 512, 100),
    "mocov3-r50-in1k": (None, 0.6, 4096, 100),
    "mocov3-vits16-in1k": (None, 1.5e-4, 4096, 300),
    "swav-r50-in1k": (None, 0.3, 4096, 800),
    "dino-vits16-in1k": (None, 5e-4, 1024, 100),
    "ibot-vits16-in1k": (None, 5e-4, 1024, 800),
    "spectral-r50-in1k": (None, 0.05, 384, 100),
    "lejepa-vitl14-in1k": (None, 2.5e-4, 512, 100),
    "lejepa-imagenette": (None, 2e-3, 256, 800),
    "intl-in100": (None, 0.5, 128, 400),
    "swav-in100": (None, 0.6, 256, 400),
    "simclr-cifar10": (None, 1.0, 512, 1000),
    "intl-cifar10": (9_447_424, 0.3, 256, 1000),
    "spectral-cifar10": (None, 0.03, 512, 800),
    "wmse-cifar10": (None, 1.5e-3, 512, 1000),
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
    count, base, size, epochs = PAPERS[name]
    trainer = recipe.config["trainer"]
    batch = inner(recipe)["batch_size"] * trainer["devices"] * trainer.get("num_nodes", 1)
    assert (batch, trainer["max_epochs"]) == (size, epochs)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if "vit" in RECIPES[name].text])
def test_whole_views_are_class_tokens_unless_patches_are_compared(name):
    encoder = build(RECIPES[name], "cpu" if RECIPES[name].size == "small" else "meta").encoder
    if isinstance(encoder, TimmEncoder) and encoder.by_tokens:
        assert encoder.pool == ("mean" if name.startswith("ibot") else "class")


@pytest.mark.parametrize(("name", "pictures"), [("swav-imagenette", 9_469), ("swav-in100", 126_689)])
def test_the_queue_is_whole_batches_and_starts_with_epoch_fifteen(name, pictures):
    recipe = RECIPES[name]
    objective = recipe.config["model"]["init_args"]["objective"]["init_args"]
    batch = inner(recipe)["batch_size"] * recipe.config["trainer"]["devices"]
    assert objective["queue_length"] == 3840
    assert 3840 % batch == 0
    assert objective["queue_start"] == 15 * (pictures // batch)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("supcon")])
def test_supervised_recipes_say_so(name):
    header = RECIPES[name].text[: RECIPES[name].text.index("seed_everything")]
    assert "labels" in header

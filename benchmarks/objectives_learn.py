# SPDX-License-Identifier: Apache-2.0
"""Do the two-view systems learn? Short runs of the small recipes beside a random encoder and raw pixels.

``python benchmarks/objectives_learn.py [--recipes vicreg byol ...] [--seeds 0 1 2] [--steps 200] [--encoder
cnn|vit] [--data plain|scattered]`` trains the small recipes on the embedded pictures, all with one encoder,
for a fixed number of optimiser steps. Then it fits a ridge classifier and five neighbours on the frozen
features of the training split and prints their accuracy on the test split, mean and standard deviation over
the seeds. ``scattered`` are the recipes' own garments (64 x 64); ``plain`` ones (28 x 28) are faster and
easier.
"""

import argparse
import logging
import statistics
import time
import warnings
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from conjoin.core import plugins, random, spec
from conjoin.core.cli.recipes import catalogue
from conjoin.core.data import DataModule

ENCODERS: dict[str, dict[str, Any]] = {
    "vit": {
        "class_path": "conjoin.vision.ViT",
        "init_args": {"in_channels": 1, "dim": 64, "depth": 3, "heads": 4, "init": "xavier"},
    },
    "cnn": {
        "class_path": "conjoin.vision.TimmEncoder",
        "init_args": {"name": "test_resnet", "in_channels": 1},
    },
}


def data_module(kind: str, seed: int, batch_size: int) -> tuple[DataModule, int]:
    """The pictures and their side."""
    from conjoin.vision import Fashion, ScatteredFashion

    if kind == "plain":
        return Fashion(batch_size=batch_size, seed=seed, eval_batch_size=500), 28
    return ScatteredFashion(batch_size=batch_size, seed=seed, eval_batch_size=500), 64


def with_encoder(config: dict[str, Any], encoder: str, side: int) -> dict[str, Any]:
    """A recipe's model with one of our encoders, the same for all recipes."""
    chosen = spec.plain(ENCODERS[encoder])
    chosen["init_args"]["image_size"] = side
    if encoder == "vit":
        chosen["init_args"]["patch_size"] = side // 8 if side == 64 else 7
    arguments = {**config["init_args"], "encoder": chosen}
    for group in arguments["views"]["groups"]:
        for transform in group["transforms"]:
            options = transform.get("init_args", {})
            # Encoders with fixed positions want one size; small crops otherwise keep half of the side.
            if "size" in options:
                options["size"] = None if encoder == "vit" else side // 2
    return {"class_path": config["class_path"], "init_args": arguments}


def build(config: dict[str, Any], lr: float | None, steps: int) -> Any:
    """The system, by the command line's own parser; a tenth of the steps warm up."""
    from jsonargparse import ArgumentParser

    from conjoin.core.methods import JointEmbedding

    optim = config["init_args"]["optim"]
    optim |= {"warmup_epochs": None, "warmup_steps": steps // 10, "lr": optim["lr"] if lr is None else lr}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(JointEmbedding, "model")
    return parser.instantiate_classes(parser.parse_object({"model": config})).model


@torch.no_grad()
def features(embed: Any, data: DataModule, split: Any) -> tuple[Tensor, Tensor]:
    """Frozen features (N, D) in float64 and labels (N,)."""
    rows, labels = [], []
    for batch in data.evaluation_dataloader(split):
        rows.append(embed(batch).double())
        labels.append(batch["label"])
    return torch.cat(rows), torch.cat(labels)


def accuracies(embed: Any, data: DataModule) -> tuple[float, float]:
    """Ridge classifier and cosine five-neighbour accuracy on the test split, standardised by training."""
    x, y = features(embed, data, "train")
    test, truth = features(embed, data, "test")
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    x, test = (x - mean) / std, (test - mean) / std
    classes = int(y.max()) + 1
    targets = torch.nn.functional.one_hot(y, classes).double() - 1 / classes
    weight = torch.linalg.solve(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]).double(), x.T @ targets)
    ridge = ((test @ weight).argmax(1) == truth).double().mean().item()
    x, test = (torch.nn.functional.normalize(rows, dim=1) for rows in (x, test))
    near = (test @ x.T).topk(5, dim=1).indices
    votes = torch.nn.functional.one_hot(y[near], classes).sum(1)
    return ridge, (votes.argmax(1) == truth).double().mean().item()


def train(name: str, seed: int, given: argparse.Namespace) -> tuple[float, float, float]:
    """One run: ridge accuracy, neighbour accuracy, seconds of training."""
    data, side = data_module(given.data, seed, given.batch_size)
    pl.seed_everything(seed, verbose=False)
    recipe = with_encoder(catalogue()[f"{name}-small"].config["model"], given.encoder, side)
    model = build(recipe, given.lr, given.steps)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=given.steps, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, limit_val_batches=0,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(model, data)
    seconds = time.perf_counter() - start
    return *accuracies(model.eval().embed, data), seconds


def untrained(seed: int, given: argparse.Namespace) -> tuple[float, float]:
    """The same encoder with random weights."""
    data, side = data_module(given.data, seed, given.batch_size)
    recipe = with_encoder(catalogue()["vicreg-small"].config["model"], given.encoder, side)
    with random.seeded(seed):
        model = build(recipe, None, given.steps)
    return accuracies(model.eval().embed, data)


def line(name: str, results: list[tuple[float, ...]]) -> str:
    """A row of the table."""
    cells = []
    for values in list(zip(*results, strict=True))[:2]:
        spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{100 * statistics.mean(values):.1f}{spread}")
    seconds = f"{statistics.mean(r[2] for r in results):.0f}" if len(results[0]) > 2 else ""
    return f"| {name} | {cells[0]} | {cells[1]} | {seconds} |"


def main() -> None:
    """Print the table."""
    small = [name.removesuffix("-small") for name, r in catalogue().items() if r.size == "small"]
    families = ("Contrastive", "RedundancyReduction", "SelfDistillation")
    ours = [n for n in small if catalogue()[f"{n}-small"].config["model"]["class_path"].endswith(families)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=ours, choices=ours)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=None, help="the recipe's if not given")
    parser.add_argument("--encoder", choices=list(ENCODERS), default="cnn")
    parser.add_argument("--data", choices=("plain", "scattered"), default="plain")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    plugins.load()
    print(f"{given.encoder}, {given.data} pictures, {given.steps} steps of {given.batch_size}\n")
    print("| | ridge | 5-NN | seconds |\n|---|---|---|---|")
    data, _ = data_module(given.data, 0, given.batch_size)
    print(line("raw pixels", [accuracies(lambda batch: batch["x"].flatten(1), data)]), flush=True)
    print(line("random encoder", [untrained(seed, given) for seed in given.seeds]), flush=True)
    for name in given.recipes:
        print(line(name, [train(name, seed, given) for seed in given.seeds]), flush=True)


if __name__ == "__main__":
    main()

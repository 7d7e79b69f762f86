# SPDX-License-Identifier: Apache-2.0
"""What all contestants share: sizes, optimiser, schedules, and the file of features that each leaves.

Defaults are read from the recipe ``ijepa-small``, so that the comparison follows it.
"""

import argparse
import json
import platform
import resource
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from data import Batches, module
from torch import Tensor, nn
from torch.optim import Optimizer

from conjoin.core import plugins
from conjoin.core.data import Split
from conjoin.core.evaluation import Features, extract
from conjoin.core.optim import Optim, parameter_groups, set_hyperparameters

__all__ = ("SharedOptimiser", "arguments", "peak_mib", "recipe", "save")

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def recipe() -> dict[str, Any]:
    """The recipe ``ijepa-small`` as it is in the installed package."""
    for plugin in plugins.plugins():
        folder = plugin.folder()
        path = folder / "recipes" / "ijepa-small.yaml" if folder else None
        if path is not None and path.is_file():
            config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            return config
    raise FileNotFoundError("The recipe ijepa-small is not installed: install conjoin-vision.")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options of every contestant."""
    config = recipe()
    model = config["model"]["init_args"]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, required=True, help="optimiser steps; 0 leaves the network untrained"
    )
    parser.add_argument("--batch", type=int, default=config["data"]["init_args"]["batch_size"])
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, renderings and masks")
    parser.add_argument("--lr", type=float, default=model["optim"]["lr"], help="peak learning rate")
    parser.add_argument("--width", type=int, default=model["encoder_dim"])
    parser.add_argument("--depth", type=int, default=model["encoder_depth"])
    parser.add_argument("--heads", type=int, default=model["encoder_heads"])
    parser.add_argument("--patch", type=int, default=model["patch_size"])
    parser.add_argument("--predictor-width", type=int, default=model["predictor_dim"])
    parser.add_argument("--predictor-depth", type=int, default=model["predictor_depth"])
    parser.add_argument(
        "--ema",
        type=float,
        nargs=2,
        metavar=("FIRST", "LAST"),
        help="teacher momentum; each library's own default (ours: the recipe's) if not given",
    )
    parser.add_argument("--out", type=Path, required=True, help="features and figures, .npz")
    return parser


class SharedOptimiser:
    """The recipe's optimiser, learning rate and weight decay by step, for any library's modules.

    Args:
        args: Of :func:`arguments`.
        modules: What is trained.
    """

    def __init__(self, args: argparse.Namespace, modules: Iterable[nn.Module]) -> None:
        optim = Optim(**{**recipe()["model"]["init_args"]["optim"], "lr": args.lr})
        self.optimizer: Optimizer = optim.build(parameter_groups(modules))
        self._schedules = optim.schedules(args.steps, len(module(args).train_dataloader()))

    def set(self, step: int) -> None:
        """Write the values of the step that follows ``step`` finished ones."""
        lr, weight_decay = (schedule(step) for schedule in self._schedules)
        set_hyperparameters(self.optimizer, lr=lr, weight_decay=weight_decay)


def peak_mib() -> float:
    """Largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def save(
    args: argparse.Namespace,
    name: str,
    embed: Callable[[Tensor], Tensor],
    *,
    batches: Batches | None = None,
    before_mib: float | None = None,
    distributions: Iterable[str] = (),
) -> None:
    """Write frozen features of all splits, with what training cost.

    Args:
        args: Of :func:`arguments`; needs ``steps``, ``batch``, ``seed`` and ``out``.
        name: Of the contestant, in the table.
        embed: Images (B, 1, 64, 64) to pooled features (B, D).
        batches: Those trained on.
        before_mib: Peak memory before training.
        distributions: Whose versions to record, beside torch's.
    """
    peak = peak_mib()
    data = module(args)
    parts: dict[str, Any] = {}
    for split in SPLITS:
        features: Features = extract(
            lambda batch: embed(batch["x"]),
            data.evaluation_dataloader(split),
            description=f"{name}: {split}",
            progress=False,
        )
        parts[f"{split}_x"], parts[f"{split}_label"] = features.x.numpy(), features.label.numpy()
    meta = {
        "name": name,
        "steps": args.steps,
        "seed": args.seed,
        "batch": args.batch,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {package: version(package) for package in ("torch", *distributions)},
        "settings": {key: str(value) for key, value in vars(args).items() if key != "out"},
        "train": batches.figures() if batches is not None and args.steps else None,
        "peak_mib": peak if args.steps else None,
        "before_mib": before_mib,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(args.out, meta=json.dumps(meta), **parts)
    cost = meta["train"]
    print(f"{args.out}: {name}, {args.steps} steps, seed {args.seed}" + (f", {cost}" if cost else ""))

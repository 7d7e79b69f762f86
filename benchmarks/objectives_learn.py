# SPDX-License-Identifier: Apache-2.0
"""Do the objectives learn? Short runs of each beside a random encoder, raw pixels and lightly's losses.

    python benchmarks/objectives_learn.py --encoder cnn --seeds 0 1 2   # what is missing is trained
    python benchmarks/objectives_learn.py --encoder vit --by lightly    # in an environment with lightly
    python benchmarks/objectives_learn.py --seeds 0 --lr 0.01 --tune    # compare on validation, in no table
    python benchmarks/objectives_learn.py --table                       # the tables again

All runs have the same encoder, two views, number of steps, batch, optimiser and schedule; objective and head
are those of the small recipe of that name. iBOT hides patches, so it has no row with the CNN. ``--by
lightly`` puts lightly's loss of the same settings in the place of ours and leaves the rest.
Learning rates that differ from ``DEFAULT_RATE`` are in ``RATES``, by
encoder; choose them on *validation* with ``--tune``, seed 0. Then a ridge classifier and five neighbours
stand on the frozen features of the training split. Results go to ``objectives_learn.json``, from which
``objectives_learn.md`` is written; a run that is there is not trained again.
"""

import argparse
import json
import logging
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from conjoin.core import plugins, random, spec
from conjoin.core.cli.recipes import catalogue
from conjoin.core.data import DataModule

HERE = Path(__file__).with_suffix("")
NAMES = (
    *("simclr", "dcl", "infonce", "spectral", "swav", "mocov3", "byol", "simsiam", "dino", "ibot", "tico"),
    *("barlowtwins", "vicreg", "vicregl", "intl", "wmse", "lejepa"),
)
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
DEFAULT_RATE = 3e-3
# Of 0.001, 0.003 and 0.01 the one with the best sum of both accuracies on validation: scattered garments, 100
# steps, seed 0, our losses.
RATES: dict[str, dict[str, float]] = {
    "cnn": dict.fromkeys(
        (
            "simclr",
            "dcl",
            "infonce",
            "spectral",
            "mocov3",
            "simsiam",
            "tico",
            "vicregl",
            "intl",
            "wmse",
            "lejepa",
        ),
        1e-2,
    ),
    "vit": {
        **dict.fromkeys(("infonce", "simsiam", "dino", "ibot"), 1e-3),
        **dict.fromkeys(("swav", "mocov3", "byol", "intl"), 1e-2),
    },
}
SIDES = {"plain": 28, "scattered": 48}


def data_module(kind: str, seed: int, batch_size: int) -> DataModule:
    """The pictures."""
    from conjoin.vision import Fashion, ScatteredFashion

    chosen = Fashion if kind == "plain" else ScatteredFashion
    return chosen(SIDES[kind], batch_size=batch_size, seed=seed, eval_batch_size=500)


def model_config(name: str, encoder: str, side: int) -> dict[str, Any]:
    """The model of a small recipe with one encoder and two views for all."""
    config = spec.plain(catalogue()["simclr-small" if name == "infonce" else f"{name}-small"].config["model"])
    chosen = spec.plain(ENCODERS[encoder])
    chosen["init_args"]["image_size"] = side
    if encoder == "vit":
        chosen["init_args"]["patch_size"] = side // (6 if side == 48 else 4)
    arguments = {**config["init_args"], "encoder": chosen}
    arguments["views"] = {"groups": arguments["views"]["groups"][:1]}
    if arguments.get("ema"):  # the recipes' 0.99 is for runs of many epochs
        arguments["ema"] = [0.95, 1.0]
    if arguments.get("freeze_prototypes"):
        arguments["freeze_prototypes"] = 0
    if name == "infonce":
        arguments["objective"] = {
            "class_path": "conjoin.core.objectives.InfoNCE",
            "init_args": {"temperature": 0.2},
        }
    return {"class_path": config["class_path"], "init_args": arguments}


def build(config: dict[str, Any], lr: float, steps: int) -> Any:
    """The system, by the command line's own parser; a tenth of the steps warm up."""
    from jsonargparse import ArgumentParser

    from conjoin.core.methods import JointEmbedding

    optim = config["init_args"]["optim"]
    optim |= {"warmup_epochs": None, "warmup_steps": steps // 10, "lr": lr}
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


def accuracies(embed: Any, data: DataModule) -> dict[str, list[float]]:
    """Ridge and cosine five-neighbour accuracy on ``val`` and ``test``, standardised by training."""
    x, y = features(embed, data, "train")
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    x = (x - mean) / std
    classes = int(y.max()) + 1
    targets = torch.nn.functional.one_hot(y, classes).double() - 1 / classes
    weight = torch.linalg.solve(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]).double(), x.T @ targets)
    found = {}
    for split in ("val", "test"):
        held, truth = features(embed, data, split)
        held = (held - mean) / std
        ridge = ((held @ weight).argmax(1) == truth).double().mean().item()
        own, others = (torch.nn.functional.normalize(rows, dim=1) for rows in (held, x))
        votes = torch.nn.functional.one_hot(y[(own @ others.T).topk(5, dim=1).indices], classes).sum(1)
        found[split] = [ridge, (votes.argmax(1) == truth).double().mean().item()]
    return found


def rate(name: str, given: argparse.Namespace) -> float:
    """The learning rate of a run."""
    return float(given.lr or RATES[given.encoder].get(name, DEFAULT_RATE))


def train(name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One run: accuracies and seconds of training."""
    data = data_module(given.data, seed, given.batch_size)
    pl.seed_everything(seed, verbose=False)
    model = build(model_config(name, given.encoder, SIDES[given.data]), rate(name, given), given.steps)
    if given.by == "lightly":
        from objectives_rivals import lightly_for

        model.objective = lightly_for(model.objective)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=given.steps, precision="bf16-mixed", logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        limit_val_batches=0,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(model, data)
    seconds = time.perf_counter() - start
    return {**accuracies(model.eval().embed, data), "seconds": seconds}


def untrained(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The same encoder with random weights."""
    data = data_module(given.data, seed, given.batch_size)
    with random.seeded(seed):
        model = build(model_config("vicreg", given.encoder, SIDES[given.data]), 1e-3, given.steps)
    return accuracies(model.eval().embed, data)


def raw(given: argparse.Namespace) -> dict[str, Any]:
    """Pixels as features."""
    return accuracies(lambda batch: batch["x"].flatten(1), data_module(given.data, 0, given.batch_size))


class Results:
    """Runs by what they are, in a JSON file that is written after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []

    def get(self, what: dict[str, Any], make: Any) -> dict[str, Any]:
        """The run that is ``what``, made if it is not there."""
        same = [run for run in self.runs if what.items() <= run.items()]
        if not same:
            same = [{**what, **make()}]
            self.runs += same
            self.path.write_text("[\n" + ",\n".join(json.dumps(run) for run in self.runs) + "\n]\n")
        return same[0]


def cells(runs: list[dict[str, Any]], split: str = "test") -> list[str]:
    """Mean and standard deviation over the seeds of both accuracies, in per cent."""
    texts = []
    for values in zip(*(run[split] for run in runs), strict=True):
        spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
        texts.append(f"{100 * statistics.mean(values):.1f}{spread}")
    return texts


def table(results: Results, encoder: str, shared: dict[str, Any]) -> str:
    """Markdown of one encoder in one setting: each objective, ours and lightly's."""

    def rows(**what: Any) -> list[dict[str, Any]]:
        return [run for run in results.runs if what.items() <= run.items()]

    lines = ["| | rate | ridge | 5-NN | lightly: ridge | 5-NN |", "|---|---|---|---|---|---|"]
    for name, runs in (
        ("raw pixels", rows(data=shared["data"], name="raw")),
        ("random encoder", rows(data=shared["data"], encoder=encoder, name="random")),
    ):
        if runs:
            lines.append(f"| {name} | | {' | '.join(cells(runs))} | | |")
    found = len(lines)
    for name in NAMES:
        chosen = {**shared, "encoder": encoder, "name": name, "tune": False}
        for lr in sorted({run["lr"] for run in rows(**chosen)}):
            ours, theirs = rows(**chosen, lr=lr, by="conjoin"), rows(**chosen, lr=lr, by="lightly")
            shown = [text for runs in (ours, theirs) for text in (cells(runs) if runs else ("", ""))]
            lines.append(f"| `{name}` | {lr:g} | {' | '.join(shown)} |")
    return "\n".join(lines) if len(lines) > found else ""


def comparison(results: Results, encoder: str, shared: dict[str, Any]) -> str:
    """A sentence on the runs that have a counterpart with lightly's loss: same objective, rate and seed."""
    runs = [
        run for run in results.runs if {**shared, "encoder": encoder, "tune": False}.items() <= run.items()
    ]
    pairs = {(run["name"], run["lr"], run["seed"], run["by"]): run["test"] for run in runs}
    gaps = [
        100 * (own - other)
        for (*what, by), both in pairs.items()
        if by == "conjoin" and (*what, "lightly") in pairs
        for own, other in zip(both, pairs[(*what, "lightly")], strict=True)
    ]
    if not gaps:
        return ""
    spread = f" (standard deviation {statistics.stdev(gaps):.1f})" if len(gaps) > 1 else ""
    return (
        f"\n\nBeside lightly's loss, run by run: ours ahead or equal in {sum(gap >= 0 for gap in gaps)} of "
        f"{len(gaps)} figures, by {statistics.mean(gaps):+.2f} points on average{spread}."
    )


def page(results: Results) -> str:
    """The whole page of tables: of each setting that there are runs of, and each encoder."""
    parts = [
        "# What the objectives learn in a short run",
        "Two views, bf16-mixed; accuracy on the test split in %, mean and standard deviation over seeds. By "
        "`python benchmarks/objectives_learn.py`, which says more.",
        "<!-- --8<-- [start:tables] -->",
    ]
    titles = {"vit": "small ViT (3 blocks of width 64)", "cnn": "small CNN (timm's test_resnet)"}
    settings = {(run["data"], run["steps"], run["batch_size"]) for run in results.runs if "steps" in run}
    for data, steps, batch_size in sorted(settings, key=lambda setting: (setting[0] == "plain", setting)):
        shared = {"data": data, "steps": steps, "batch_size": batch_size}
        for encoder, title in titles.items():
            text = table(results, encoder, shared)
            if text:
                side = f"{SIDES[data]} x {SIDES[data]}"
                heading = f"### {steps} steps of {batch_size} {data} garments ({side}), {title}"
                parts.append(f"{heading}\n\n{text}{comparison(results, encoder, shared)}")
    return "\n\n".join((*parts, "<!-- --8<-- [end:tables] -->")) + "\n"


def main() -> None:
    """Train what is missing, write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--by", choices=("conjoin", "lightly"), default="conjoin")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=None, help="instead of those in RATES")
    parser.add_argument("--encoder", choices=list(ENCODERS), default="cnn")
    parser.add_argument("--data", choices=list(SIDES), default="plain")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tune", action="store_true", help="print validation only, write no page")
    parser.add_argument("--table", action="store_true", help="write the page of what is there")
    parser.add_argument("--out", type=Path, default=HERE, help="of OUT.json and OUT.md")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")
    for logger in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    plugins.load()
    results = Results(given.out.with_suffix(".json"))
    if not given.table:
        fit(results, given)
    if not given.tune:
        given.out.with_suffix(".md").write_text(page(results))


def fit(results: Results, given: argparse.Namespace) -> None:
    """All runs that are asked for, one line each."""
    shared = {"data": given.data}
    results.get({"name": "raw", **shared}, lambda: raw(given))
    for seed in given.seeds:
        what = {"name": "random", "encoder": given.encoder, "seed": seed, **shared}
        results.get(what, lambda seed=seed: untrained(seed, given))
    # lightly has no such loss, or (W-MSE) none for batches of this size.
    skipped = {"infonce", "spectral", "mocov3", "intl", "wmse"} if given.by == "lightly" else set()
    skipped |= {"ibot"} if given.encoder == "cnn" else set()
    # Seed by seed, so that an interrupted benchmark has compared all objectives.
    for seed in given.seeds:
        for name in (name for name in given.recipes if name not in skipped):
            what = {
                **{"name": name, "by": given.by, "encoder": given.encoder, "seed": seed, **shared},
                **{"steps": given.steps, "batch_size": given.batch_size, "lr": rate(name, given)},
                "tune": given.tune,
            }
            run = results.get(what, lambda name=name, seed=seed: train(name, seed, given))
            shown = cells([run], "val" if given.tune else "test")
            print(
                name, given.by, given.encoder, seed, what["lr"], *shown, f"{run['seconds']:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Do label-free measures choose the right hyper-parameters? Many small runs, their measures, their probes.

``python benchmarks/rankme_correlation.py [--runs N] [--steps N]`` trains VICReg on the embedded garments
(28 x 28) with one tiny ViT, once for each cell of a grid of covariance weight, variance weight and learning
rate (26 runs, two of which have nothing against collapse). Of every run it takes all measures of ``conjoin
rank``, on the projection and on the representation, and the linear probe; it prints how each measure's order
agrees with the probe's, writes everything to ``rankme_correlation.json`` beside this file and draws
``docs/assets/rankme_correlation.svg``. A run that is in the file already is not trained again, so the
benchmark can be stopped and started, and with all of them there it only draws.
"""

import argparse
import json
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console

from conjoin.core import RedundancyReduction
from conjoin.core.cli.label_free import Sampling, Space, measure, probe
from conjoin.core.cli.ranking import COLUMNS, Ranked, add_clid, agreement, order, show
from conjoin.core.methods.head import Head
from conjoin.core.objectives import VICReg
from conjoin.core.optim import Optim
from conjoin.core.transforms import Crop, Flip, Noise, Scale, ViewGroup, Views

SPACES: tuple[Space, ...] = ("projection", "representation")
FIGURE = Path(__file__).parents[1] / "docs" / "assets" / "rankme_correlation.svg"
SHOWN = ("rankme", "lidar", "alpha_req", "nesum", "clid", "uniformity")


def grid() -> Iterator[dict[str, float]]:
    """The hyper-parameters, in an order in which the first few differ much."""
    for lr in (1e-3, 1e-4):
        yield {"covariance": 1.0, "variance": 25.0, "lr": lr}
        yield {"covariance": 0.0, "variance": 0.0, "lr": lr}  # nothing holds against collapse
    for lr in (1e-3, 1e-4):
        for variance in (25.0, 5.0):
            for covariance in (0.0, 0.04, 0.2, 1.0, 5.0, 25.0):
                if (covariance, variance) != (1.0, 25.0):
                    yield {"covariance": covariance, "variance": variance, "lr": lr}


def build(cell: dict[str, float]) -> RedundancyReduction:
    """A run's system; all start from the same weights."""
    from conjoin.vision import ViT

    pl.seed_everything(0)
    encoder = ViT(image_size=28, patch_size=7, in_channels=1, dim=64, depth=2, heads=4, init="xavier")
    policy = [Crop((0.3, 1.0)), Flip(), Scale((0.6, 1.6)), Noise(0.1)]
    return RedundancyReduction(
        encoder,
        VICReg(25.0, cell["variance"], cell["covariance"]),
        Head(256, 256, 3, hidden_bias=True),
        views=Views([ViewGroup(2, policy)]),
        optim=Optim(lr=cell["lr"], start_lr=0.0, final_lr=1e-6, warmup_steps=20, final_weight_decay=None),
        seed=0,
    )


def train(cell: dict[str, float], given: argparse.Namespace) -> dict[str, Any]:
    """One run: values in both spaces, and the probe."""
    from conjoin.vision import Fashion

    data = Fashion(batch_size=given.batch_size, eval_batch_size=500, seed=0)
    model = build(cell)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=given.steps, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model, data)
    model.eval()
    sampling = Sampling("train", given.samples, given.view_samples, given.views)
    found: dict[str, Any] = {"cell": cell, **settings(given), "probe": probe(model, data)}
    for space in SPACES:
        values, rows, width = measure(model, data, sampling, space, name=name_of(cell))
        found[space] = {"rows": rows, "width": width, "values": values}
    return found


def settings(given: argparse.Namespace) -> dict[str, int]:
    """What all runs of a figure share."""
    return {
        name: getattr(given, name) for name in ("steps", "batch_size", "samples", "view_samples", "views")
    }


def name_of(cell: dict[str, float]) -> str:
    """A run's name in tables."""
    return f"cov {cell['covariance']:g} var {cell['variance']:g} lr {cell['lr']:g}"


def ranked(results: list[dict[str, Any]], space: str) -> list[Ranked]:
    """The runs as ``conjoin rank`` has them."""
    runs = [
        Ranked(
            name_of(result["cell"]), "", "RedundancyReduction", result[space]["rows"], result[space]["width"],
            dict(result[space]["values"]), result["probe"],
        )
        for result in results
    ]  # fmt: skip
    add_clid(runs)
    return runs


def picture(runs: dict[str, list[Ranked]]) -> str:
    """An SVG: a row of panels per space, a panel per measure, a point per run (goodness against accuracy)."""
    wide, high, pad, gap = 190, 150, 34, 80
    parts = []
    for row, (space, mine) in enumerate(runs.items()):
        rho = {one.measure: one.spearman for one in agreement(mine)}
        parts.append(f'<text x="{pad}" y="{row * (high + gap) + 16}" font-weight="bold">{space}</text>')
        for column, name in enumerate(SHOWN):
            points = [
                (COLUMNS[name].goodness(one.values[name]), 100 * one.score)
                for one in mine
                if math.isfinite(one.values[name])
            ]
            left, top = pad + column * (wide + 20), pad + 8 + row * (high + gap)
            title = COLUMNS[name].title + (f": {rho[name]:+.2f}" if name in rho else "")
            parts.append(
                f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" fill="none" stroke="#999"/>'
            )
            parts.append(f'<text x="{left}" y="{top - 6}">{title}</text>')
            parts += _dots(points, left, top, wide, high)
    width, height = pad + len(SHOWN) * (wide + 20), len(runs) * (high + gap)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11" fill="#333" style="background:#fff">\n'
        "<title>Goodness by label-free measures (across) against linear accuracy in % (up); "
        "the number is Spearman's correlation</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _dots(points: list[tuple[float, float]], left: int, top: int, wide: int, high: int) -> list[str]:
    if not points:
        return []
    (low_x, high_x), (low_y, high_y) = ((min(side), max(side)) for side in zip(*points, strict=True))
    found = [
        f'<text x="{left}" y="{top + high + 14}">{low_x:.3g}</text>',
        f'<text x="{left + wide}" y="{top + high + 14}" text-anchor="end">{high_x:.3g}</text>',
        f'<text x="{left - 3}" y="{top + high}" text-anchor="end">{low_y:.0f}</text>',
        f'<text x="{left - 3}" y="{top + 10}" text-anchor="end">{high_y:.0f}</text>',
    ]
    for x, y in points:
        across = left + 6 + (wide - 12) * (x - low_x) / ((high_x - low_x) or 1)
        up = top + high - 6 - (high - 12) * (y - low_y) / ((high_y - low_y) or 1)
        found.append(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3.5" fill="#2a6fb0" fill-opacity="0.7"/>')
    return found


def main() -> None:
    """Train what is missing, print the tables, write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cells = list(grid())
    parser.add_argument("--runs", type=int, default=len(cells), help="the first so many cells of the grid")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--view_samples", type=int, default=200)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--figure", type=Path, default=FIGURE)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path = given.out
    known = json.loads(path.read_text())["results"] if path.is_file() else []
    results: list[Any] = []
    others = known
    for cell in cells[: given.runs]:
        wanted = {"cell": cell, **settings(given)}
        same = [one for one in known if wanted.items() <= one.items()]
        results.append(same[0] if same else train(cell, given))
        others = [one for one in known if one not in results]
        path.write_text(json.dumps({"results": results + others}) + "\n")
    runs = {space: ranked(results, space) for space in SPACES}
    found = {space: agreement(mine) for space, mine in runs.items()}
    for space, mine in runs.items():
        show(Console(), order(mine, "rankme"), found[space], "rankme", f"{space} of train")
    pairs = {space: [asdict(one) for one in mine] for space, mine in found.items()}
    path.write_text(json.dumps({"results": results + others, "agreement": pairs}, indent=1) + "\n")
    given.figure.write_text(picture(runs))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A run folder with realistic curves, and a small system with pictures, both made here."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from conjoin.core.masking import Masks
from conjoin.core.report.subject import Subject

STEPS = 1200


def write_metrics(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for step in range(4, STEPS, 5):
        part = step / STEPS
        loss = 0.06 + 0.4 * np.exp(-12 * part) + 0.01 * rng.normal()
        rows.append({"step": step, "epoch": step // 120, "train/loss": loss})
        rows.append(
            {"step": step, "epoch": step // 120, "schedule/lr": 1e-3 * min(1, 10 * part) * (1 - part) + 1e-6}
        )
        rows[-1] |= {"schedule/weight_decay": 0.04 + 0.36 * part, "schedule/ema": 0.996 + 0.004 * part}
        if step % 50 == 49:
            rows.append({"step": step, "throughput/samples_per_s": 330 + 8 * rng.normal()})
            rows[-1] |= {"throughput/data_wait": 0.03, "throughput/max_memory_gib": 1.21}
        if step % 120 == 119:
            rows.append({"step": step, "epoch": step // 120, "val/loss": loss + 0.01})
            rows[-1] |= {"probe/linear_acc": 0.2 + 0.25 * part**0.5, "probe/knn_acc": 0.2 + 0.12 * part**0.5}
            rows[-1] |= {
                "monitor/rankme": 60 - 25 * np.exp(-6 * part),
                "monitor/content_share": 0.2 + 0.25 * part,
            }
    names = dict.fromkeys(name for row in rows for name in row)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(rows)


def write_monitor(folder: Path) -> None:
    steps = np.unique(np.geomspace(1, STEPS, 45).round().astype(int))
    rank = np.arange(96)
    final = 3.0 * np.exp(-rank / 18)
    start = np.geomspace(8, STEPS * 0.9, 96)
    grown = 1 / (1 + (start[None] / steps[:, None]) ** 6)
    values = np.sort(final * (1e-3 + grown), axis=1)[:, ::-1]
    np.savez(
        folder / "monitor.npz",
        steps=steps,
        eigenvalues=values,
        rankme=60 - 25 * np.exp(-steps / 200),
        content_share=0.2 + 0.25 * steps / STEPS,
        detected=np.array([[8.0, 0], [20.0, 18], [60.0, 39], [200.0, 64]]),
    )


def write_evaluation(folder: Path) -> None:
    table = {
        ("linear", 10): (0.22, 0.18, 0.13),
        ("linear", 100): (0.33, 0.28, 0.15),
        ("linear", None): (0.43, 0.35, 0.17),
        ("knn", 10): (0.19, 0.15, 0.16),
        ("knn", 100): (0.26, 0.21, 0.24),
        ("knn", None): (0.32, 0.27, 0.33),
    }
    rows = [
        {
            "features": features,
            "probe": probe,
            "labels_per_class": budget,
            "split": "test",
            "metric": "accuracy",
        }
        | {"value": value, "std": 0.012 if budget else 0.0, "draws": 5 if budget else 1}
        for (probe, budget), values in table.items()
        for features, value in zip(("teacher", "random init", "raw input"), values, strict=True)
    ]
    (folder / "evaluation.json").write_text(json.dumps({"rows": rows}))


CONFIG = f"""\
seed_everything: 7
trainer: {{max_steps: {STEPS}, precision: 32-true}}
model:
  class_path: conjoin.vision.IJEPA
  init_args: {{variant: vit_tiny, patch_size: 8}}
data:
  class_path: conjoin.vision.ScatteredFashion
  init_args: {{batch_size: 128}}
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Everything but a checkpoint that can be loaded."""
    folder = tmp_path / "ijepa-small"
    (folder / "checkpoints").mkdir(parents=True)
    write_metrics(folder)
    write_monitor(folder)
    write_evaluation(folder)
    (folder / "config.yaml").write_text(CONFIG)
    torch.save(
        {"conjoin": {"version": "0.1.0"}, "pytorch-lightning_version": "2.6.6", "global_step": STEPS},
        folder / "checkpoints" / "last.ckpt",
    )
    return folder


class Discs(Dataset[dict[str, Any]]):
    """Colour pictures: one bright disc or square on a smooth ground; the class is hue and shape."""

    def __len__(self) -> int:
        return 160

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        rows, columns = np.mgrid[:48, :48] / 48
        label = index % 5
        centre, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.12, 0.25)
        away = np.stack([abs(rows - centre[0]), abs(columns - centre[1])])
        inside = (np.hypot(*away) if label % 2 else away.max(0)) < radius
        ground = 0.3 + 0.3 * rows * rng.uniform(0, 1) + 0.2 * columns * rng.uniform(0, 1)
        hue = np.array([[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.2, 0.4, 0.9], [0.9, 0.8, 0.2], [0.7, 0.3, 0.8]])[
            label
        ]
        image = np.where(inside[None], hue[:, None, None], ground[None]) + 0.02 * rng.normal(size=(3, 48, 48))
        return {"x": torch.tensor((image - 0.5) / 0.25, dtype=torch.float32), "label": label, "index": index}


class Patches(nn.Module):
    """An encoder without training: a random linear map of patches, plus positions."""

    grid, embed_dim = (8, 8), 24

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, self.embed_dim, 6, 6)
        self.positions = nn.Parameter(torch.randn(64, self.embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2) + self.positions


class Toy(nn.Module):
    """What the report asks of a system, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Patches()

    def tokens(self, batch: dict[str, Any]) -> Tensor:
        return self.encoder(batch["x"])

    def embed(self, batch: dict[str, Any]) -> Tensor:
        return self.tokens(batch).mean(1)

    def partition(self, batch: dict[str, Any]) -> Masks:
        count = len(batch["x"])
        cells = torch.arange(64).view(8, 8)
        blocks = [cells[r : r + 3, c : c + 3].flatten() for r, c in ((0, 0), (1, 4), (5, 1), (4, 5))]
        rest = torch.tensor(sorted(set(range(64)) - {int(i) for block in blocks for i in block}))
        return Masks(rest.expand(count, -1), torch.stack(blocks).expand(count, 4, -1))


def toy_datamodule() -> Any:
    loader = DataLoader(Discs(), batch_size=32)
    return SimpleNamespace(
        prepare_data=lambda: None,
        setup=lambda stage: None,
        evaluation_dataloader=lambda split: loader,
        class_names=("red square", "green disc", "blue square", "yellow disc", "<i>violet & square"),
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> tuple[Toy, Any]:
    """A system that every checkpoint loads as, and its data."""
    torch.manual_seed(0)
    model = Toy().eval()
    monkeypatch.setattr("conjoin.core.report.subject.load_model", lambda path: model)
    monkeypatch.setattr("conjoin.core.report.features.fresh", lambda model: Toy().eval())
    return model, toy_datamodule()


@pytest.fixture
def subject(run_dir: Path, toy: tuple[Toy, Any]) -> Subject:
    from conjoin.core.report.run import Run

    return Subject.of(Run.read(run_dir), toy[1])

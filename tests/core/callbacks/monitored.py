# SPDX-License-Identifier: Apache-2.0
"""A tiny system that returns what callbacks read, and data with classes, for the tests beside this file."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from conjoin.core import random

WIDTH, GRID = 8, 6


class Blobs(Dataset[dict[str, Tensor]]):
    """Three classes around three centres, every sample a function of its index."""

    def __init__(self, count: int = 48, first: int = 0, labelled: bool = True) -> None:
        self.count, self.first, self.labelled = count, first, labelled

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        index = item + self.first
        label = index % 3
        noise = random.normal(torch.tensor(random.key(0, "noise", index)), WIDTH).float()
        centre = random.normal(torch.tensor(random.key(0, "centre", label)), WIDTH).float()
        return {
            "x": 2 * centre + 0.3 * noise,
            "label": torch.tensor(label if self.labelled else -1),
            "index": torch.tensor(item),
        }


class Data(pl.LightningDataModule):
    num_classes: int | None = 3

    def __init__(self, batch_size: int = 8, labelled: bool = True) -> None:
        super().__init__()
        self.batch_size, self.labelled = batch_size, labelled

    def _loader(self, count: int, first: int) -> DataLoader[Any]:
        return DataLoader(Blobs(count, first, self.labelled), batch_size=self.batch_size)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(48, 0)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(24, 100)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(24, 200)

    def evaluation_dataloader(self, split: str) -> DataLoader[Any]:
        return getattr(self, f"{split}_dataloader")()


class Tiny(pl.LightningModule):
    """Regression of the input through a linear layer; ``mode`` makes it collapse.

    Args:
        mode: ``"healthy"``; ``"rank"``: pulls features to one line; ``"constant"``: to one point;
            ``"position"``: targets are functions of position; ``"nan"``: the loss is NaN at the third batch.
    """

    def __init__(self, mode: str = "healthy", lr: float = 0.1) -> None:
        super().__init__()
        with random.seeded(3):
            self.encoder = nn.Linear(WIDTH, WIDTH)
        self.mode, self.lr, self.seed = mode, lr, 0

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        return self.encoder(batch["x"])

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        z = self.encoder(batch["x"])
        if self.mode == "rank":
            loss = z[:, 1:].square().mean() * WIDTH
        elif self.mode == "constant":
            loss = (z - 1).square().mean() * WIDTH
        else:
            loss = (z - batch["x"]).square().mean()
        if self.mode == "nan" and batch_idx == 2:
            loss = loss * torch.nan
        index = torch.arange(GRID).expand(len(z), 1, GRID)
        position = torch.linspace(-1, 1, GRID).view(1, 1, GRID, 1).expand(len(z), 1, GRID, WIDTH)
        content = 0.0 if self.mode == "position" else 1.0
        targets = position + content * z.detach().view(-1, 1, 1, WIDTH)
        return {"loss": loss, "embedding": z.detach(), "targets": targets, "target_index": index}

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        loss = (self.embed(batch) - batch["x"]).square().mean()
        self.log("val/loss", loss, batch_size=len(batch["x"]))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def trainer(folder: Path, callbacks: list[pl.Callback], steps: int = 24, **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_epochs": -1,
    }
    return pl.Trainer(
        default_root_dir=folder, callbacks=callbacks, max_steps=steps, **{**settings, **options}
    )

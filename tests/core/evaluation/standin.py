# SPDX-License-Identifier: Apache-2.0
"""A system whose trained encoder sees the classes and whose fresh one sees noise."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from conjoin.core import random

WIDTH = 10


def samples(count: int, seed: int, classes: int = 3) -> list[dict[str, Tensor]]:
    """Classes differ in the first three inputs only; the others are loud."""
    keys = random.fold(random.key(seed, "x"), torch.arange(count))
    x = random.normal(keys, WIDTH).float()
    label = torch.arange(count) % classes
    x[:, 3:] *= 20
    x[torch.arange(count), label % 3] += 2.5
    return [{"x": x[i].view(1, 1, WIDTH), "label": label[i], "index": torch.tensor(i)} for i in range(count)]


class Data(pl.LightningDataModule):
    num_classes = 3
    sizes = (("train", 120), ("val", 60), ("test", 60))

    def evaluation_dataloader(self, split: str) -> DataLoader[Any]:
        number, count = next((n, c) for n, (name, c) in enumerate(self.sizes) if name == split)
        return DataLoader(samples(count, number), batch_size=32)  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[Any]:
        return self.evaluation_dataloader("test")


class Model(pl.LightningModule):
    """Trained: sees the first three inputs. Fresh: a random mixture of all."""

    def __init__(self, trained: bool = True) -> None:
        super().__init__()
        with random.seeded(0):
            self.encoder = nn.Sequential(nn.Linear(WIDTH, 2, bias=False), nn.Dropout(0.5))
        if trained:
            self.encoder[0] = nn.Linear(WIDTH, 3, bias=False)
            self.encoder[0].weight.data.copy_(torch.eye(3, WIDTH))

    def tokens(self, batch: dict[str, Tensor]) -> Tensor:
        return self.encoder(batch["x"].flatten(1)).unsqueeze(1)

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        assert not torch.is_grad_enabled()
        return self.tokens(batch).mean(1)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        pass

# SPDX-License-Identifier: Apache-2.0
"""A system and data small enough for tests of the command line: a plugin as an outside package would be."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from conjoin.core.data import DataModule
from conjoin.core.methods import JointEmbedding, StepOutput
from conjoin.core.spec import SelfDescribing

__all__ = ("ToyData", "ToySystem", "ToyTokens")


@dataclass(frozen=True)
class Ratio:
    low: float = 0.25
    sizes: tuple[int, int] = (1, 2)


class ToyTokens(SelfDescribing, nn.Module):
    """Two tokens of ``dim`` channels."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.embed_dim = dim
        self.grid = (2,)
        self.proj = nn.Linear(3, dim)

    def forward(self, x, keep=None):
        return self.proj(x.unflatten(1, (2, 3)))

    def intermediate(self, x, layers):
        return [self(x)] * layers


class ToySystem(JointEmbedding):
    def __init__(self, dim: int = 4, ratio: Ratio = Ratio(), seed: int | None = None) -> None:
        super().__init__(ToyTokens(dim), seed=seed)
        self.ratio = ratio

    def step(self, batch):
        tokens = self.encoder(batch["x"])
        return StepOutput((tokens**2).mean(), embedding=tokens.mean(1).detach())


class ToyGeneric(JointEmbedding):
    """Takes a ready encoder, as generic bases do."""

    def __init__(self, encoder: nn.Module, seed: int | None = None) -> None:
        super().__init__(encoder, seed=seed)

    def step(self, batch):
        return StepOutput(self.encoder(batch["x"]).mean())


class ToyData(DataModule):
    num_classes = 2

    def __init__(self, size: int = 16, batch_size: int = 4, seed: int | None = None) -> None:
        super().__init__(batch_size, seed=seed)
        self.size = size

    def build(self, split: str) -> Dataset:
        x = torch.arange(self.size * 6, dtype=torch.float32).reshape(self.size, 6) / 50
        return TensorDataset(x + {"train": 0, "val": 1, "test": 2}[split], torch.arange(self.size) % 2)

# SPDX-License-Identifier: Apache-2.0
"""A JEPA of your own, outside conjoin: waveforms, with an encoder and data that conjoin has never seen."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from conjoin.core import JEPA
from conjoin.core.data import DataModule, Split
from conjoin.core.masking import IntervalMask
from conjoin.core.nn import Predictor, Transformer, gather_tokens, sincos_positions
from conjoin.core.optim import Optim


class WaveEncoder(nn.Module):
    """(B, 1, length) -> (B, N, dim), or the K tokens of ``keep`` (B, K) alone: (B, K, dim)."""

    positions: Tensor

    def __init__(self, length: int, patch: int, dim: int, depth: int) -> None:
        super().__init__()
        self.embed_dim, self.grid = dim, (length // patch,)
        self.patches = nn.Conv1d(1, dim, patch, stride=patch)
        self.register_buffer("positions", sincos_positions(self.grid, dim))
        self.transformer = Transformer(dim, depth, heads=4, init="xavier")

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Positions come before ``keep``, so hidden tokens cost nothing and the rest know their place."""
        tokens = self.patches(x).mT + self.positions
        out: Tensor = self.transformer(tokens if keep is None else gather_tokens(tokens, keep))
        return out


class WaveJEPA(JEPA):
    """Plain numbers in, so every checkpoint knows how to rebuild the model."""

    def __init__(
        self, length: int = 256, dim: int = 64, depth: int = 3, lr: float = 1e-3, spans: int = 3
    ) -> None:
        encoder = WaveEncoder(length, 8, dim, depth)
        predictor = Predictor(dim, encoder.grid, dim=32, depth=2, heads=4, init="xavier")
        super().__init__(encoder, predictor, IntervalMask(targets=spans), optim=Optim(lr=lr), ema=(0.99, 1.0))


class Waves(DataModule):
    """Sine, square and triangle waves of any pitch and phase, under noise."""

    num_classes, class_names = 3, ("sine", "square", "triangle")

    def build(self, split: Split) -> Dataset[tuple[Tensor, ...]]:
        """2,048 training waves, 512 of each other split."""
        size, seed = {"train": (2048, 0), "val": (512, 1), "test": (512, 2)}[split]
        draw = torch.Generator().manual_seed(seed)
        pitch, phase = 4 + 8 * torch.rand(size, 1, generator=draw), torch.rand(size, 1, generator=draw)
        sine = torch.sin(2 * torch.pi * (pitch * torch.linspace(0, 1, 256) + phase))
        shapes = torch.stack([sine, sine.sign(), sine.asin() * 2 / torch.pi], dim=1)
        label = torch.arange(size) % 3
        noise = 0.2 * torch.randn(size, 1, 256, generator=draw)
        return TensorDataset(shapes[torch.arange(size), label, None] + noise, label)

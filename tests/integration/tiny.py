# SPDX-License-Identifier: Apache-2.0
"""A whole, tiny system for integration tests: 96 small pictures, a two-block transformer, every callback."""

import lightning.pytorch as pl
import torch
from torch import nn

from conjoin.core import JEPA, Contrastive
from conjoin.core.callbacks import OnlineKNN, OnlineProbe, RepresentationMonitor
from conjoin.core.data import DataModule
from conjoin.core.masking import MultiBlockMask, RandomMask
from conjoin.core.methods import Head, MaskedSelfDistillation
from conjoin.core.nn import Predictor, Transformer, gather_tokens, sincos_positions
from conjoin.core.objectives import IBOT
from conjoin.core.optim import Optim
from conjoin.core.transforms import Noise, ViewGroup, Views


class TinyEncoder(nn.Module):
    """4 x 4 patches of a 16 x 16 picture."""

    embed_dim = 16
    grid = (4, 4)

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(16, 16)
        self.register_buffer("positions", sincos_positions(self.grid, 16))
        self.transformer = Transformer(16, depth=2, heads=2)

    def forward(self, x, keep=None):
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)
        tokens = self.project(patches) + self.positions
        return self.transformer(tokens if keep is None else gather_tokens(tokens, keep))


class TinyData(DataModule):
    num_classes = 3

    def build(self, split):
        generator = torch.Generator().manual_seed(7)
        x = torch.randn(96, 1, 16, 16, generator=generator)
        label = torch.arange(96) % 3
        x += label.view(-1, 1, 1, 1)
        return [{"x": a, "label": int(b)} for a, b in zip(x, label, strict=True)]

    @staticmethod
    def train_transform(x):
        return x + 0.1 * torch.randn(x.shape)


class TinyJEPA(JEPA):
    def __init__(self, seed: int = 0, lr: float = 1e-3):
        torch.manual_seed(seed)
        encoder = TinyEncoder()
        super().__init__(
            encoder,
            Predictor(16, encoder.grid, dim=8, depth=2, heads=2),
            MultiBlockMask(targets=2, min_keep=2),
            ema=(0.9, 1.0),
            optim=Optim(lr=lr, warmup_steps=3),
            seed=seed,
        )


def contrastive(make_objective):
    """The same encoder under an objective with parameters of its own."""
    torch.manual_seed(0)
    optim = Optim(name="sgd", lr=0.01, warmup_steps=3, weight_decay=0.0, final_weight_decay=None)
    views = Views([ViewGroup(2, [Noise(0.3)])])
    return Contrastive(
        TinyEncoder(), make_objective(), Head(16, 8, norm="none"), views=views, optim=optim, seed=0
    )


class HidingEncoder(TinyEncoder):
    """The same encoder for a student that sees a mask token in places."""

    def forward(self, x, keep=None, hide=None):
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)
        tokens = self.project(patches)
        tokens = (tokens if hide is None else hide(tokens)) + self.positions
        return self.transformer(tokens if keep is None else gather_tokens(tokens, keep))


def masked_distillation():
    """iBOT: hidden patches, a token in their place, a teacher."""
    torch.manual_seed(0)
    return MaskedSelfDistillation(
        HidingEncoder(),
        IBOT(12),
        Head(16, 12, norm="none"),
        masks=RandomMask(),
        views=Views([ViewGroup(2, [Noise(0.3)])]),
        optim=Optim(lr=1e-3, warmup_steps=3),
        seed=0,
    )


class Losses(pl.Callback):
    """The loss of every step, averaged over ranks."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean").item())


def monitors():
    return [RepresentationMonitor(), OnlineProbe(num_classes=3), OnlineKNN(k=3)]


def trainer(root, *, callbacks=(), **options):
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 3,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": root,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**{**defaults, **options}, callbacks=list(callbacks))

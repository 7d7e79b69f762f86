# SPDX-License-Identifier: Apache-2.0
"""The attentive probe: a learned query that attends to the frozen tokens, then a linear classifier.

Bardes et al., "Revisiting feature prediction for learning visual representations from video",
arXiv 2404.08471, section 4. It asks what the tokens know, where the linear probe asks what
their mean knows. Tokens are held in memory: N x T x D float32.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.evaluation.features import Features, accuracy
from conjoin.core.nn import AttentivePool

__all__ = ("AttentiveChoice", "AttentiveClassifier", "attentive_probe")


@dataclass(frozen=True)
class AttentiveChoice:
    """What validation chose, and how well it did.

    Attributes:
        lr: Learning rate.
        epoch: Epochs trained, from 1.
        val: Accuracy on the validation split.
        test: Accuracy on the test split.
    """

    lr: float
    epoch: int
    val: float
    test: float


class AttentiveClassifier(nn.Module):
    """Standardise channels, pool by attention, normalise, classify.

    Args:
        mean: (D,) of the training tokens.
        std: (D,) of the training tokens.
        classes: C.
        heads: Attention heads; lowered to the largest number that divides D.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, classes: int, heads: int = 12) -> None:
        super().__init__()
        dim = len(mean)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.pool = AttentivePool(dim, heads=next(h for h in range(min(heads, dim), 0, -1) if dim % h == 0))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, C) logits for tokens (B, T, D)."""
        return cast(Tensor, self.head(self.norm(self.pool((tokens - self.mean) / self.std))))


def attentive_probe(
    train: Features,
    val: Features,
    test: Features,
    *,
    classes: int,
    epochs: int = 10,
    lrs: Sequence[float] = (1e-3, 3e-4),
    weight_decay: float = 0.01,
    batch_size: int = 64,
    heads: int = 12,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AttentiveChoice:
    """Train one probe per learning rate, choose rate and epoch on ``val``, measure on ``test``.

    AdamW with a cosine over the epochs. Initial weights and the order of the batches are keyed by ``seed``.

    Args:
        train: ``x`` (N, T, D) tokens.
        val: As ``train``.
        test: As ``train``.
        classes: C.
        epochs: Passes over ``train``.
        lrs: Learning rates to try.
        weight_decay: Decoupled.
        batch_size: Samples per step.
        heads: See :class:`AttentiveClassifier`.
        seed: Of weights and order.
        device: Where to train.

    Raises:
        ValueError: ``x`` is not (N, T, D), or nothing to try.
    """
    if train.x.ndim != 3:
        raise ValueError(f"the attentive probe needs tokens (N, T, D), got {tuple(train.x.shape)}")
    if not lrs or epochs < 1:
        raise ValueError("the attentive probe needs at least one learning rate and one epoch")
    std, mean = torch.std_mean(train.x, dim=(0, 1), correction=0)
    std = torch.where(std > 1e-6 * mean.abs(), std, torch.ones_like(std))
    total = epochs * math.ceil(len(train) / batch_size)
    best: AttentiveChoice | None = None
    for lr in lrs:
        with random.seeded(random.key(seed, "attentive_probe")):
            probe = AttentiveClassifier(mean, std, classes, heads).to(device)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=weight_decay)
        step = 0
        for epoch in range(1, epochs + 1):
            key = torch.tensor(random.key(seed, "attentive_order", epoch))
            probe.train()
            for rows in random.permutation(key, len(train)).split(batch_size):  # type: ignore[no-untyped-call]
                optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / total)) / 2
                logits = probe(train.x[rows].to(device))
                loss = nn.functional.cross_entropy(logits, train.label[rows].to(device))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1
            score = accuracy(_predict(probe, val.x, batch_size), val.label)
            if best is None or score > best.val:
                # Test predictions of a candidate are made now, while its weights exist; they choose nothing.
                best = AttentiveChoice(
                    lr, epoch, score, accuracy(_predict(probe, test.x, batch_size), test.label)
                )
    assert best is not None
    return best


@torch.no_grad()
def _predict(probe: AttentiveClassifier, tokens: Tensor, batch_size: int) -> Tensor:
    probe.eval()
    device = probe.mean.device
    parts = tokens.split(batch_size)  # type: ignore[no-untyped-call]
    return torch.cat([probe(part.to(device)).argmax(1).cpu() for part in parts])

# SPDX-License-Identifier: Apache-2.0
"""The MLP probe: one hidden layer on standardised frozen features, for classes or for a number.

What a small non-linear head makes of the features, as the tabular literature evaluates them. AdamW at a
constant rate; training stops when the validation score has not improved for some epochs, and the best epoch
counts. Initial weights, dropout and the order of the batches are keyed.
"""

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from conjoin.core import random
from conjoin.core.evaluation.linear import standardiser

__all__ = ("MLPChoice", "mlp_probe")

Rows = tuple[Tensor, Tensor]
"""Features (N, D) and labels (N,) int64, or targets (N,) float."""


@dataclass(frozen=True)
class MLPChoice:
    """What validation chose, and how well it did.

    Attributes:
        epoch: Epochs trained, from 1.
        val: Accuracy, or root mean squared error, on the validation split.
        test: The same on the test split.
    """

    epoch: int
    val: float
    test: float


def mlp_probe(
    train: Rows,
    val: Rows,
    test: Rows,
    *,
    classes: int | None,
    hidden: int = 256,
    dropout: float = 0.1,
    lr: float = 1e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 256,
    epochs: int = 60,
    patience: int = 10,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> MLPChoice:
    """Train on ``train``, choose the epoch on ``val``, measure once on ``test``.

    Args:
        train: Features and labels or targets.
        val: As ``train``.
        test: As ``train``.
        classes: C, or None to regress on float targets, whose error is then in their own units.
        hidden: Width of the hidden layer.
        dropout: After the hidden layer.
        lr: Learning rate.
        weight_decay: Decoupled.
        batch_size: Rows per step.
        epochs: At most.
        patience: Epochs without improvement after which it stops.
        seed: Of weights, dropout and order.
        device: Where to train.

    Raises:
        ValueError: No epoch, or a label outside ``range(classes)``.
    """
    if epochs < 1:
        raise ValueError(f"the MLP probe needs at least one epoch, got {epochs}")
    if classes is not None and (int(train[1].min()) < 0 or int(train[1].max()) >= classes):
        raise ValueError(
            f"training labels span {int(train[1].min())} to {int(train[1].max())}, but there are {classes} "
            "classes"
        )
    mean, std = standardiser(train[0])
    sets = [((x - mean) / std).to(device) for x, _ in (train, val, test)]
    answers = [y.to(device) for _, y in (train, val, test)]
    # Batches of few rows: many small steps, as many as a larger set would get.
    batch_size = min(batch_size, max(8, len(train[0]) // 8))
    with random.seeded(random.key(seed, "mlp_probe")), torch.enable_grad():
        head = nn.Sequential(
            nn.Linear(len(mean), hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes or 1)
        ).to(device)
        optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=weight_decay)
        best, state = MLPChoice(0, 0.0, 0.0), head.state_dict()
        for epoch in range(1, epochs + 1):
            key = torch.tensor(random.key(seed, "mlp_order", epoch))
            head.train()
            for rows in random.permutation(key, len(sets[0])).to(device).split(batch_size):  # type: ignore[no-untyped-call]
                loss = _loss(head(sets[0][rows]), answers[0][rows], classes)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            score = _score(head, sets[1], answers[1], classes)
            better = score > best.val if classes is not None else score < best.val
            if best.epoch == 0 or better:
                best, state = MLPChoice(epoch, score, 0.0), copy.deepcopy(head.state_dict())
            elif epoch - best.epoch >= patience:
                break
    head.load_state_dict(state)
    return MLPChoice(best.epoch, best.val, _score(head, sets[2], answers[2], classes))


def _loss(out: Tensor, answer: Tensor, classes: int | None) -> Tensor:
    if classes is None:
        return nn.functional.mse_loss(out.squeeze(1), answer)
    return nn.functional.cross_entropy(out, answer)


@torch.no_grad()
def _score(head: nn.Module, x: Tensor, answer: Tensor, classes: int | None) -> float:
    head.eval()
    out = cast(Tensor, head(x)).to(torch.float64)
    if classes is None:
        return float((out.squeeze(1) - answer).square().mean().sqrt())
    return float((out.argmax(1) == answer).to(torch.float64).mean())

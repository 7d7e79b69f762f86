# SPDX-License-Identifier: Apache-2.0
"""A linear classifier that trains itself on a stream of features, exact over ranks."""

from typing import Any

import torch
from torch import Tensor

from conjoin.core import random
from conjoin.core.distributed import all_reduce_sum

__all__ = ("LinearHead",)


class LinearHead:
    """Standardise, multiply, softmax; AdamW on the cross-entropy, whose gradient is written out.

    The mean and variance that standardise are exponential averages over the stream (with the weight of the
    missing past divided out), so scale and offset of the features do not matter. Sums over rows are
    taken over all ranks before they are used, so every rank holds the same head as one process would.

    Args:
        dim: D, width of the features.
        classes: C.
        key: Key of the initial weights.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        decay: Of the running mean and variance, per step.
        device: Where the head lives.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        key: int,
        lr: float = 3e-3,
        weight_decay: float = 1e-4,
        decay: float = 0.99,
        device: torch.device | str = "cpu",
    ) -> None:
        rows = random.fold(key, torch.arange(classes))
        self.weight = (random.normal(rows, dim) * 0.01).to(device, torch.float32)
        self.bias = torch.zeros(classes, device=device)
        self.decay = decay
        # Averages of 1, z and z^2, all from zero: the first divides the missing past out of the others.
        self.seen = torch.zeros((), device=device)
        self.mean = torch.zeros(dim, device=device)
        self.square = torch.zeros(dim, device=device)
        self.optimizer = torch.optim.AdamW([self.weight, self.bias], lr=lr, weight_decay=weight_decay)

    def standardise(self, z: Tensor) -> Tensor:
        """(B, D) features with the running mean removed and the running variance divided out."""
        seen = self.seen.clamp(min=torch.finfo(torch.float32).tiny)
        mean = self.mean / seen
        variance = (self.square / seen - mean.square()).clamp(min=0)
        # Where nothing varies, the quotient would blow rounding errors up.
        return (z - mean) / (variance + 1e-6 * mean.square() + 1e-12).sqrt()

    def logits(self, z: Tensor) -> Tensor:
        """(B, C) for features (B, D)."""
        return self.standardise(z.to(torch.float32)) @ self.weight.T + self.bias

    @torch.no_grad()
    def learn(self, z: Tensor, label: Tensor) -> None:
        """One AdamW step on features (B, D) and labels (B,); rows labelled below zero count for nothing."""
        z = z.to(torch.float32)
        dim, classes = self.weight.shape[1], self.weight.shape[0]
        sums = all_reduce_sum(torch.cat((z.new_tensor([len(z)]), z.sum(0), z.square().sum(0))))
        count, total, square = torch.split_with_sizes(sums, [1, dim, dim])
        self.seen.lerp_(torch.ones_like(self.seen), 1 - self.decay)
        self.mean.lerp_(total / count, 1 - self.decay)
        self.square.lerp_(square / count, 1 - self.decay)

        known = (label >= 0).to(torch.float32).unsqueeze(1)
        error = self.logits(z).softmax(dim=1)
        error = (error - torch.nn.functional.one_hot(label.clamp(min=0), classes)) * known
        slope = error.T @ self.standardise(z)
        sums = all_reduce_sum(torch.cat((known.sum().view(1), slope.flatten(), error.sum(0))))
        count, slope, offset = torch.split_with_sizes(sums, [1, classes * dim, classes])
        count = count.clamp(min=1)
        self.weight.grad = (slope / count).view_as(self.weight)
        self.bias.grad = offset / count
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Weights, running averages and the optimiser's state."""
        tensors = ("weight", "bias", "seen", "mean", "square")
        return {
            **{name: getattr(self, name).detach().cpu().clone() for name in tensors},
            "optimizer": _on_cpu(self.optimizer.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave, in place."""
        for name in ("weight", "bias", "seen", "mean", "square"):
            getattr(self, name).copy_(state[name])
        self.optimizer.load_state_dict(state["optimizer"])


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu().clone()
    if isinstance(value, dict):
        return {name: _on_cpu(item) for name, item in value.items()}
    return value

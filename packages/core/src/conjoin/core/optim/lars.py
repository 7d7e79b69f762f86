# SPDX-License-Identifier: Apache-2.0
"""LARS: You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017), arXiv 1708.03888.

For a weight w with gradient g, decay b, trust coefficient eta, momentum m and learning rate gamma:

    u = eta |w| / |g + b w| * (g + b w)        (factor 1 where either norm is 0)
    v = m v + u
    w = w - gamma v

This is the form used by the self-supervised papers (SimCLR, BYOL, Barlow Twins, VICReg). It differs
from the 2017 paper in two points: the paper divides by ``|g| + b |w|`` and multiplies u, not v, by
gamma, which matters only while gamma changes. Tensors with fewer than two dimensions (biases and
normalisation) take a plain momentum step, without trust ratio and without decay.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ("LARS",)


class LARS(Optimizer):
    """Momentum SGD with one trust ratio per weight tensor.

    Args:
        params: Parameters or groups.
        lr: Learning rate gamma.
        momentum: m.
        weight_decay: b, part of the normalised direction.
        trust: The coefficient eta.

    Raises:
        ValueError: For a negative value.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        for name, value in defaults.items():
            if not value >= 0:
                raise ValueError(f"LARS: {name} is {value}; it cannot be negative.")
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; ``closure`` recomputes the loss and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, direction: Tensor, group: dict[str, Any]) -> None:
        if parameter.ndim > 1:
            direction = direction.add(parameter, alpha=group["weight_decay"])
            weight_norm = torch.linalg.vector_norm(parameter)
            norm = torch.linalg.vector_norm(direction)
            # Tensors, not numbers, decide about zero norms: no wait for the device.
            ratio = group["trust"] * weight_norm / norm
            ratio = torch.where((weight_norm > 0) & (norm > 0), ratio, torch.ones_like(ratio))
            direction = direction * ratio
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        velocity = state["momentum"].mul_(group["momentum"]).add_(direction)
        parameter.add_(velocity, alpha=-group["lr"])

# SPDX-License-Identifier: Apache-2.0
"""Projectors and predictors: the MLPs between an encoder and its objective.

:class:`Head` says what an MLP looks like without its input width, so that a recipe need not repeat the
encoder's; :meth:`Head.build` makes it. The heads of the papers:

=============  ======================================================================================
SimCLR         ``Head(out=128, last_norm="scale")`` (2 layers; the release's flag has 3)
Barlow Twins   ``Head(8192, 8192, 3)``
VICReg         ``Head(8192, 8192, 3, hidden_bias=True)``
INTL           ``Head(8192, 8192, 3, bias=True)``
BYOL           ``Head(4096, 256, hidden_bias=True)`` for projector and predictor
SimSiam        ``Head(2048, 2048, 3, last_norm="plain")``, predictor ``Head(512, 2048, bias=True)``
MoCo v3        ``Head(4096, 256, 3, last_norm="plain")`` (ResNet: 2 layers), predictor 2 layers
SwAV           ``Head(2048, 128, hidden_bias=True, bias=True)``
DINO           ``Head(2048, 256, 3, norm="none", activation="gelu", hidden_bias=True, bias=True,
               prototypes=65536)``
TiCo           ``Head(4096, 256, hidden_bias=True, bias=True)``
LeJEPA         ``Head(2048, 64, 3, hidden_bias=True, bias=True)``
=============  ======================================================================================
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conjoin.core.methods.batch_norm import BatchNorm
from conjoin.core.nn.init import Linear, init_weight_

__all__ = ("Head", "Prototypes")

Norm = Literal["batch", "none"]
LastNorm = Literal["none", "batch", "scale", "plain"]
Activation = Literal["relu", "gelu"]


class Prototypes(nn.Module):
    """Cosines with learned directions: DINO's last layer, a weight-normed linear map of gain 1.

    Args:
        dim: Width of the input, which is brought to unit length.
        count: Number K of directions.
        device: Where the weights live.
        dtype: Their type.
    """

    def __init__(self, dim: int, count: int, *, device: Any = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Directions from a normal of standard deviation 0.02; their length does not matter."""
        init_weight_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) to (N, K) in [-1, 1]."""
        return F.linear(F.normalize(x, dim=-1, eps=1e-6), F.normalize(self.weight, dim=-1, eps=1e-6))

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


@dataclass(frozen=True)
class Head:
    """An MLP without its input width.

    Args:
        hidden: Width of the hidden layers; that of the input if not given.
        out: Width of the result (of the bottleneck, if there are prototypes).
        layers: Linear layers; 0 for no head at all.
        norm: After each hidden layer: ``"batch"`` (over all ranks) or ``"none"``.
        last_norm: After the last layer: ``"none"``, ``"batch"``, ``"scale"`` (without offset) or ``"plain"``
            (nothing learned).
        activation: Between layers.
        hidden_bias: Whether hidden layers have a bias, which a batch norm makes superfluous.
        bias: Whether the last layer has one.
        prototypes: Outputs of a further layer of cosines (:class:`Prototypes`), as in DINO; None for none.

    Raises:
        ValueError: If a size is not positive or a name is unknown.
    """

    hidden: int | None = None
    out: int = 128
    layers: int = 2
    norm: Norm = "batch"
    last_norm: LastNorm = "none"
    activation: Activation = "relu"
    hidden_bias: bool = False
    bias: bool = False
    prototypes: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("hidden", self.hidden), ("out", self.out), ("prototypes", self.prototypes)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}.")
        if self.layers < 0 or (self.layers == 0 and self.prototypes is not None):
            raise ValueError(f"layers must be at least 0, and at least 1 with prototypes, not {self.layers}.")
        for name, choices in (("norm", Norm), ("last_norm", LastNorm), ("activation", Activation)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}, not {getattr(self, name)!r}."
                )

    def width(self, dim: int) -> int:
        """Width of the result for an input of width ``dim``."""
        return (self.prototypes or self.out) if self.layers else dim

    def build(self, dim: int) -> nn.Module:
        """The module for an input of width ``dim``, rows (N, dim) to (N, width)."""
        if not self.layers:
            return nn.Identity()
        hidden = self.hidden or dim
        parts: list[tuple[str, nn.Module]] = []
        for number in range(1, self.layers):
            width = dim if number == 1 else hidden
            parts.append((f"linear{number}", self._linear(width, hidden, self.hidden_bias)))
            if self.norm == "batch":
                parts.append((f"norm{number}", BatchNorm(hidden)))
            parts.append((f"activation{number}", nn.ReLU() if self.activation == "relu" else nn.GELU()))
        width = dim if self.layers == 1 else hidden
        parts.append(("last", self._linear(width, self.out, self.bias)))
        if self.last_norm != "none":
            scale, shift = self.last_norm != "plain", self.last_norm == "batch"
            parts.append(("last_norm", BatchNorm(self.out, scale=scale, shift=shift)))
        if self.prototypes is not None:
            parts.append(("prototypes", Prototypes(self.out, self.prototypes)))
        return nn.Sequential(OrderedDict(parts))

    def _linear(self, dim: int, out: int, bias: bool) -> nn.Linear:
        # A norm forgets the scale of the weights before it; without one DINO's small weights matter.
        return nn.Linear(dim, out, bias) if self.norm == "batch" else Linear(dim, out, bias)

# SPDX-License-Identifier: Apache-2.0
"""Objectives that remember: when their centres, queues, moments and counters move.

Some have parameters that must stay where they belong (prototypes on the sphere, a temperature in its range):
:meth:`StatefulObjective.constrain` brings them back at the same moments.

State lives in buffers and moves once per *optimiser* step. An objective cannot see the optimiser, so:

* by default every forward pass in training mode is a step, which is right for a loop without accumulation;
* after :meth:`StatefulObjective.defer` the forward passes only collect what they saw, and
  :meth:`StatefulObjective.advance`, called after the optimiser's step, moves the state by the average of all
  micro-batches. Systems of conjoin do this.

In evaluation mode nothing moves.
"""

from typing import Self

import torch
from torch import Tensor, nn

from conjoin.core.spec import SelfDescribing

__all__ = ("StatefulObjective",)


class StatefulObjective(SelfDescribing, nn.Module):
    """Base of objectives with state; ``steps`` counts the optimiser steps and is saved with the model."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.deferred = False
        self._pending: tuple[Tensor, ...] | None = None

    def defer(self) -> Self:
        """Let the state move in :meth:`advance` alone; returns itself."""
        self.deferred = True
        return self

    def advance(self) -> None:
        """Move the state by what the forward passes since the last call saw; call after the optimiser's step.

        All ranks must call it.
        """
        if self._pending is not None:
            self.commit(*self._pending)
            self._pending = None
        self.steps.add_(1)
        if self.deferred:
            self.constrain()

    def constrain(self) -> None:
        """Bring the parameters back to where they must lie; nothing unless a subclass says otherwise.

        Without :meth:`defer` a subclass does so at the start of a forward pass in training mode. With it this
        happens after the optimiser's step, outside any forward pass, where sharded parameters (FSDP2) are the
        ones that last.
        """

    def observe(self, *seen: Tensor) -> None:
        """End of a forward pass: what the state is to be moved by. Does nothing in evaluation mode."""
        if not self.training:
            return
        seen = tuple(tensor.detach() for tensor in seen)
        self._pending = seen if self._pending is None else self.merge(self._pending, seen)
        if not self.deferred:
            self.advance()

    def merge(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What two micro-batches saw together; sums unless a subclass says otherwise."""
        return tuple(a + b for a, b in zip(first, second, strict=True))

    def commit(self, *seen: Tensor) -> None:
        """Move the buffers by what was seen in one optimiser step."""

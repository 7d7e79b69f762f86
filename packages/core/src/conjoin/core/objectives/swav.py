# SPDX-License-Identifier: Apache-2.0
r"""SwAV: predict the balanced cluster assignment of one view from another.

Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
arXiv 2006.09882. With unit features, unit prototypes and their scores s, the codes q of the first
``code_views`` views come from Sinkhorn-Knopp (:mod:`conjoin.core.objectives.sinkhorn`) over the samples of
all ranks, without gradient, and

.. math:: L = \operatorname{mean}_{t < T} \operatorname{mean}_{v \ne t} \operatorname{mean}_i
          \Bigl( - \sum_k q_{tik} \log \operatorname{softmax}_k (s_{vi} / 0.1) \Bigr) .

A queue of past features can join the codes of small batches: ``queue_length`` rows per code view, used from
optimiser step ``queue_start`` on once it is full. It is one queue over all ranks, each of which computes a
share of it; a multiple of the global batch is dropped exactly. Prototypes are brought to unit length before
each forward pass in training; their gradient is zero for the first ``freeze_steps`` steps (313 in the
release's runs).
"""

import torch
from torch import Tensor, nn

from conjoin.core import distributed
from conjoin.core.objectives.nt_xent import check_temperature
from conjoin.core.objectives.output import ObjectiveOutput
from conjoin.core.objectives.sinkhorn import sinkhorn_knopp
from conjoin.core.objectives.soft_targets import soft_cross_entropy
from conjoin.core.objectives.state import StatefulObjective
from conjoin.core.objectives.views import Views, as_views, check_width, unit

__all__ = ("SwAV",)


class SwAV(StatefulObjective):
    """SwAV with its prototypes and its queue.

    Args:
        dim: Width D of the features.
        prototypes: Number K.
        temperature: Of the predictions.
        code_views: How many of the first views give codes.
        epsilon: Temperature of the codes.
        iterations: Of Sinkhorn-Knopp.
        freeze_steps: Optimiser steps without gradient for the prototypes.
        queue_length: Rows per code view, over all ranks; 0 for none.
        queue_start: Optimiser step from which a full queue is used.
    """

    queue: Tensor
    queued: Tensor

    def __init__(
        self,
        dim: int = 128,
        prototypes: int = 3000,
        temperature: float = 0.1,
        code_views: int = 2,
        epsilon: float = 0.05,
        iterations: int = 3,
        freeze_steps: int = 0,
        queue_length: int = 0,
        queue_start: int = 0,
    ) -> None:
        super().__init__()
        if (
            min(dim, prototypes, code_views, iterations) < 1
            or min(freeze_steps, queue_length, queue_start) < 0
        ):
            raise ValueError(
                "dim, prototypes, code_views and iterations must be at least 1, freeze_steps, queue_length "
                f"and queue_start at least 0, not {dim}, {prototypes}, {code_views}, {iterations}, "
                f"{freeze_steps}, {queue_length}, {queue_start}."
            )
        self.dim = dim
        self.temperature = check_temperature(temperature)
        self.epsilon = check_temperature(epsilon)
        self.code_views = code_views
        self.iterations = iterations
        self.freeze_steps = freeze_steps
        self.queue_start = queue_start
        self.prototypes = nn.Parameter(torch.empty(prototypes, dim))
        self.register_buffer("queue", torch.zeros(code_views, queue_length, dim))
        self.register_buffer("queued", torch.zeros((), dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Prototypes uniform on the sphere."""
        nn.init.normal_(self.prototypes)
        self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the prototypes to unit length."""
        # The values alone: a graph of an earlier pass through the same prototypes stays valid.
        self.prototypes.data.copy_(unit(self.prototypes))

    def forward(self, *views: Views) -> ObjectiveOutput:
        """Score views (N, D), one by one or as a stack (V, N, D), code views first."""
        found = as_views(*views, at_least=max(2, self.code_views))
        check_width(found[0], self.dim, self)
        if self.training and not self.deferred:
            self.constrain()
        with torch.autocast(found[0].device.type, enabled=False):
            features = unit(torch.cat(found), radius=1 / self.temperature)
            prototypes = self.prototypes.to(features.dtype)
            if self.freeze_steps:
                prototypes = torch.where(self.steps < self.freeze_steps, prototypes.detach(), prototypes)
            scores = features @ prototypes.T
            logits = scores.view(len(found), len(found[0]), len(prototypes)).unbind(0)
            codes = [self._codes(t, logits[t].detach()) for t in range(self.code_views)]
            pairs = [(v, t) for t in range(self.code_views) for v in range(len(found)) if v != t]
            loss = soft_cross_entropy(logits, codes, pairs)
        if self.queue.shape[1]:
            rows = features.detach() * self.temperature
            self.observe(rows.view(len(found), *found[0].shape)[: self.code_views])
        else:
            self.observe()
        return ObjectiveOutput(loss)

    def _codes(self, view: int, logits: Tensor) -> Tensor:
        """Assignments (n, K) of this rank's rows, balanced together with this rank's share of the queue."""
        epsilon = self.epsilon / self.temperature  # the logits have been divided by the temperature already
        if not self.queue.shape[1]:
            return sinkhorn_knopp(logits, epsilon, self.iterations)
        share = self.queue[view].tensor_split(distributed.world_size())[distributed.rank()]
        old = share.to(logits.dtype) @ self.prototypes.detach().to(logits.dtype).T / self.temperature
        used = (self.steps >= self.queue_start) & (self.queued >= self.queue.shape[1])
        valid = torch.cat((used.new_ones(len(logits)), used.expand(len(old))))
        return sinkhorn_knopp(torch.cat((logits, old)), epsilon, self.iterations, valid)[: len(logits)]

    def merge(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Features of two micro-batches, the first one's in front."""
        return tuple(torch.cat(both, dim=1) for both in zip(first, second, strict=True))

    def commit(self, *seen: Tensor) -> None:
        """Put the features of one optimiser step in front of the queue."""
        if not seen:
            return
        fresh = distributed.gather_rows(seen[0].movedim(1, 0).contiguous()).movedim(0, 1)
        length = self.queue.shape[1]
        self.queue.copy_(torch.cat((fresh.to(self.queue.dtype), self.queue), dim=1)[:, :length])
        self.queued.add_(fresh.shape[1]).clamp_(max=length)

    def extra_repr(self) -> str:
        """The settings, for printing."""
        prototypes, dim = self.prototypes.shape
        return (
            f"dim={dim}, prototypes={prototypes}, temperature={self.temperature}, "
            f"code_views={self.code_views}, epsilon={self.epsilon}, queue_length={self.queue.shape[1]}"
        )

# SPDX-License-Identifier: Apache-2.0
"""Two ranks against one process, for every objective of the catalogue; a test and the docs' table use it."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import distributed

sys.path.insert(0, str(Path(__file__).parent))
from catalogue import CASES, Case, cut, evaluate, net, rows

# Three optimiser steps; the last batch is incomplete and is shared unequally.
SIZES = [(12, 12), (12, 12), (11, 9)]


def train(case: Case, rank: int | None) -> dict[str, Any]:
    """A few steps of gradient descent: values, gradients and the state left behind.

    ``rank`` None is one process with all rows.
    """
    student, teacher = net(1), net(2)
    torch.manual_seed(5)  # SwAV's prototypes
    objective = case.build().double()
    model = nn.ModuleDict({"student": student, "objective": objective})
    if rank is not None:
        for parameter in model.parameters():
            parameter.register_hook(distributed.all_reduce_mean)  # what DDP does
    values, gradients = [], []
    for step, (first, second) in enumerate(SIZES):
        batch = rows(first + second, seed=step)
        if rank is not None:
            batch = cut(batch, 0, first) if rank == 0 else cut(batch, first, first + second)
        model.zero_grad()
        out = evaluate(case, objective, student, teacher, batch)
        out.loss.backward()
        values.append(out.loss.detach())
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.01)
    return {"values": values, "gradients": gradients, "state": dict(objective.state_dict())}


def on_rank(rank: int, world: int) -> dict[str, Any]:
    """Every objective on this rank, by name."""
    return {case.name: train(case, rank) for case in CASES}


def error(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest entry if that is above one."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1)) if wanted.numel() else 0.0


def errors(found: dict[str, Any], wanted: dict[str, Any]) -> tuple[float, float, float]:
    """Of values, of gradients, of state."""
    assert [set(g) for g in found["gradients"]] == [set(g) for g in wanted["gradients"]]
    value = max(error(a, b) for a, b in zip(found["values"], wanted["values"], strict=True))
    gradient = max(
        error(a[n], b[n]) for a, b in zip(found["gradients"], wanted["gradients"], strict=True) for n in b
    )
    state = max((error(found["state"][n], wanted["state"][n]) for n in wanted["state"]), default=0.0)
    return value, gradient, state


def worst(ranks: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """The largest errors of the ranks' :func:`on_rank` against one process, by objective."""
    result = {}
    for case in CASES:
        alone = train(case, None)
        each = [errors(found[case.name], alone) for found in ranks]
        result[case.name] = (max(e[0] for e in each), max(e[1] for e in each), max(e[2] for e in each))
    return result

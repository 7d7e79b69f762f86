# SPDX-License-Identifier: Apache-2.0
"""Frozen evaluation: the representation beside the same network untrained and beside the input itself.

One protocol for all of them: features of the train, validation and test splits under the evaluation
transform; probes fitted on (part of) train; every choice made on validation; test looked at once.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from conjoin.core import distributed
from conjoin.core.evaluation.attentive import attentive_probe
from conjoin.core.evaluation.budgets import draw_labels
from conjoin.core.evaluation.features import Features, extract, frozen, raw_input
from conjoin.core.evaluation.knn import Metric, Space, knn_probe, knn_spaces
from conjoin.core.evaluation.linear import linear_probe
from conjoin.core.evaluation.progress import steps
from conjoin.core.evaluation.table import Row, Table

__all__ = ("evaluate",)

Probe = Literal["linear", "knn", "attentive"]
Baseline = Literal["random", "raw"]
_SPLITS = ("train", "val", "test")


class _Data(Protocol):
    num_classes: int | None

    def evaluation_dataloader(self, split: Any) -> Iterable[Any]: ...


@dataclass(frozen=True)
class _Splits:
    train: Features
    val: Features
    test: Features


@dataclass(frozen=True)
class _Source:
    """Something with features: pooled ones, and tokens if it has any."""

    name: str
    model: Any
    embed: Callable[[Any], Tensor]
    tokens: Callable[[Any], Tensor] | None


def evaluate(
    model: Any,
    datamodule: _Data,
    *,
    budgets: Sequence[int | None] = (10, 100, None),
    probes: Sequence[Probe] = ("linear", "knn"),
    baselines: Sequence[Baseline] = ("random", "raw"),
    draws: int = 3,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Table:
    """Probe a frozen model and its baselines.

    Args:
        model: A :class:`~conjoin.core.methods.JointEmbedding`.
        datamodule: With ``evaluation_dataloader(split)`` for ``"train"``, ``"val"`` and ``"test"``.
        budgets: Labels per class; ``None`` for all. A budget that all classes fall short of is left out.
        probes: Which to fit; the attentive one keeps all tokens in memory and has no raw-input baseline.
        baselines: ``"random"``: the same system with new weights; ``"raw"``: the flattened input.
        draws: Draws of the labelled samples for each budget.
        seed: Of these draws, and of the attentive probe.
        device: Where to embed; the model's if not given.
        progress: Show progress bars.

    Returns:
        A row per feature set, probe, budget and split (``"val"``, ``"test"``).

    Raises:
        ValueError: An unknown probe or baseline, or a split without labels.
    """
    for given, known, what in (
        (probes, ("linear", "knn", "attentive"), "probe"),
        (baselines, ("random", "raw"), "baseline"),
    ):
        for name in given:
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}: choose among {', '.join(known)}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    place = torch.device(getattr(model, "device", "cpu") if device is None else device)
    progress = progress and distributed.rank() == 0
    table = Table()
    # Lightning tests under inference mode, whose tensors the attentive probe could not learn from.
    with torch.inference_mode(False):
        for source in _sources(model, baselines):
            table.rows += _evaluate_source(source, datamodule, budgets, probes, draws, seed, place, progress)
    return table


def _sources(model: Any, baselines: Sequence[Baseline]) -> Iterable[_Source]:
    yield _Source("teacher", model, model.embed, getattr(model, "tokens", None))
    if "random" in baselines:
        # Imported here: checkpoints know the systems, which know the callbacks, which know this module.
        from conjoin.core.checkpoint import fresh

        untrained = fresh(model).to(getattr(model, "device", "cpu"))
        yield _Source("random init", untrained, untrained.embed, getattr(untrained, "tokens", None))
    if "raw" in baselines:
        yield _Source("raw input", None, raw_input, None)


def _evaluate_source(
    source: _Source,
    data: _Data,
    budgets: Sequence[int | None],
    probes: Sequence[Probe],
    draws: int,
    seed: int,
    device: torch.device,
    progress: bool,
) -> list[Row]:
    rows: list[Row] = []
    for kind, probe_names in (
        ("pooled", [probe for probe in probes if probe != "attentive"]),
        ("tokens", [probe for probe in probes if probe == "attentive"]),
    ):
        embed = source.embed if kind == "pooled" else source.tokens
        if not probe_names or embed is None:
            continue
        with frozen(source.model):
            splits = _extract(source, embed, data, device, progress)
        classes = getattr(data, "num_classes", None) or int(splits.train.label.max()) + 1
        jobs = [
            (probe, budget)
            for probe in probe_names
            for budget in budgets
            if _fits(splits.train.label, budget)
        ]
        spaces = knn_spaces(splits.train.x) if "knn" in probe_names else {}
        for probe, budget in steps(jobs, f"probing {source.name}", progress):
            scores = [
                _score(probe, splits, budget, classes, spaces, seed, draw, device)
                for draw in range(draws if budget else 1)
            ]
            for split, values in zip(("val", "test"), zip(*scores, strict=True), strict=True):
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                mean = statistics.fmean(values)
                rows.append(Row(source.name, probe, budget, split, "accuracy", mean, spread, len(values)))
    return rows


def _extract(
    source: _Source, embed: Callable[[Any], Tensor], data: _Data, device: torch.device, progress: bool
) -> _Splits:
    found = []
    for split in _SPLITS:
        loader = data.evaluation_dataloader(split)
        description = f"embedding {split} ({source.name})"
        features = extract(embed, loader, device, description=description, progress=progress).labelled()
        if not len(features):
            raise ValueError(f"no sample of the {split} split has a label: frozen evaluation needs labels")
        found.append(features)
    return _Splits(*found)


def _fits(label: Tensor, budget: int | None) -> bool:
    return budget is None or budget < int(label.bincount().max())


def _score(
    probe: Probe,
    splits: _Splits,
    budget: int | None,
    classes: int,
    spaces: Mapping[Metric, Space],
    seed: int,
    draw: int,
    device: torch.device,
) -> tuple[float, float]:
    """Accuracy on validation and on test."""
    train = splits.train
    if budget is not None:
        train = train.select(draw_labels(train.label, budget, seed=seed, draw=draw))
    choice: Any
    if probe == "linear":
        choice = linear_probe(train, splits.val, splits.test, classes=classes)
    elif probe == "knn":
        choice = knn_probe(train, splits.val, splits.test, spaces=spaces)
    else:
        with torch.enable_grad():
            choice = attentive_probe(
                train, splits.val, splits.test, classes=classes, seed=seed, device=device
            )
    return choice.val, choice.test

# SPDX-License-Identifier: Apache-2.0
"""Frozen evaluation: the representation beside the same network untrained and beside the input itself.

One protocol for all of them: features of the train, validation and test splits under the evaluation
transform; probes fitted on (part of) train; every choice made on validation; test looked at once. What is
asked (a class, a number, several labels) is declared by the data module, see
:mod:`conjoin.core.evaluation.task`.
"""

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from conjoin.core import distributed
from conjoin.core.evaluation.attentive import attentive_probe
from conjoin.core.evaluation.budgets import draw_labels
from conjoin.core.evaluation.features import Features, extract, frozen
from conjoin.core.evaluation.few_shot import few_shot_row
from conjoin.core.evaluation.knn import WHITENED_AXES, Space, knn_probe, knn_spaces
from conjoin.core.evaluation.linear import linear_probe
from conjoin.core.evaluation.mlp import mlp_probe
from conjoin.core.evaluation.multilabel import multilabel_rows
from conjoin.core.evaluation.progress import steps
from conjoin.core.evaluation.regression import RegressionTable, regression_rows
from conjoin.core.evaluation.sources import Baseline, Precision, Source, sources
from conjoin.core.evaluation.svm import svm_probe
from conjoin.core.evaluation.table import Row, Table
from conjoin.core.evaluation.task import Probe, Task, check_probes, task_of

__all__ = ("evaluate",)

_SPLITS = ("train", "val", "test")
_DEFAULT: dict[Task, tuple[Probe, ...]] = {
    "classification": ("linear", "knn"),
    "regression": ("linear", "knn"),
    "multilabel": ("linear",),
}


class _Data(Protocol):
    num_classes: int | None

    def evaluation_dataloader(self, split: Any) -> Iterable[Any]: ...


@dataclass(frozen=True)
class _Splits:
    train: Features
    val: Features
    test: Features


def evaluate(
    model: Any,
    datamodule: _Data,
    *,
    budgets: Sequence[int | None] = (10, 100, None),
    probes: Sequence[Probe] | None = None,
    baselines: Sequence[Baseline] = ("random", "raw"),
    few_shot: Sequence[tuple[int, int]] = (),
    task: Task | None = None,
    draws: int = 3,
    seed: int = 0,
    layers: Sequence[int] = (1,),
    axes: Sequence[int] = (WHITENED_AXES,),
    device: torch.device | str | None = None,
    precision: Precision = contextlib.nullcontext,
    progress: bool = True,
) -> Table:
    """Probe a frozen model and its baselines.

    A data module with ``raw_features(batch) -> (B, F)`` says itself what the raw-input baseline is.

    Args:
        model: A :class:`~conjoin.core.methods.JointEmbedding`.
        datamodule: With ``evaluation_dataloader(split)`` for ``"train"``, ``"val"`` and ``"test"``.
        budgets: Labels per class (in a regression labels in all); ``None`` for all. A budget that all classes
            fall short of is left out. Several labels per sample have no such budgets: all are used.
        probes: Which to fit; linear and, but for several labels, kNN if not given. ``"attentive"`` keeps all
            tokens in memory and has no raw-input baseline, ``"svm"`` needs scikit-learn.
        baselines: ``"random"``: the same system with new weights; ``"raw"``: the flattened input.
        few_shot: Pairs (ways, shots) to measure on episodes of the test split, see
            :func:`~conjoin.core.evaluation.few_shot.few_shot`; classification alone.
        task: What is asked; the data module's declaration if not given.
        draws: Draws of the labelled samples for each budget.
        seed: Of these draws, of episodes, and of the probes that are trained by batches.
        layers: Which pooled features to try: the last block's (1), those of the last four side by side (4).
            With several, as in I-JEPA's ``(1, 4)`` (arXiv 2301.08243, appendix A.2), validation chooses for
            each probe, budget and draw. Classification alone: episodes use the first, other tasks the last
            block.
        axes: Numbers of leading principal axes in which neighbours are sought, whitened, beside the spaces of
            :func:`~conjoin.core.evaluation.knn.knn_spaces` that keep all directions; validation chooses.
            Classification alone.
        device: Where to embed; the model's if not given.
        precision: Makes the context to embed in, say of autocast; float32 if not given.
        progress: Show progress bars.

    Returns:
        A row per feature set, probe, budget and split (``"val"``, ``"test"``): accuracy, macro AUC or, in a
        :class:`~conjoin.core.evaluation.regression.RegressionTable`, root mean squared error.

    Raises:
        ValueError: An unknown probe or baseline, a probe that does not fit the task, a number of layers that
            the encoder does not have, no axes, or a split without labels.
    """
    for name in baselines:
        if name not in ("random", "raw"):
            raise ValueError(f"unknown baseline {name!r}: choose among random, raw")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if not layers or min(layers) < 1:
        raise ValueError(f"layers must be one or more numbers of at least 1, got {tuple(layers)}")
    if not axes or min(axes) < 1:
        raise ValueError(f"axes must be one or more numbers of at least 1, got {tuple(axes)}")
    datamodule.evaluation_dataloader("train")  # some know their task only when their files have been read
    task = task_of(datamodule, task)
    probes = _DEFAULT[task] if probes is None else probes
    check_probes(task, probes)
    if few_shot and task != "classification":
        raise ValueError(f"few-shot episodes need classes, and this is a {task} task")
    if task == "multilabel" and None not in budgets:
        raise ValueError("the probes for several labels use all samples: have null (None) among the budgets")
    place = torch.device(getattr(model, "device", "cpu") if device is None else device)
    progress = progress and distributed.rank() == 0
    table = RegressionTable() if task == "regression" else Table()
    # Lightning tests under inference mode, whose tensors the attentive probe could not learn from.
    with torch.inference_mode(False):
        for source in sources(model, baselines, datamodule, layers, precision):
            if isinstance(table, RegressionTable):
                table.rows += regression_rows(
                    source, datamodule, budgets, probes, draws, seed, place, progress
                )
                table.target_scale = float(getattr(datamodule, "target_scale", 1.0))
            elif task == "multilabel":
                table.rows += _multilabel_source(source, datamodule, probes, seed, place, progress)
            else:
                table.rows += _evaluate_source(
                    source, datamodule, budgets, probes, few_shot, draws, seed, axes, place, progress
                )
    return table


def _evaluate_source(
    source: Source,
    data: _Data,
    budgets: Sequence[int | None],
    probes: Sequence[Probe],
    few_shot: Sequence[tuple[int, int]],
    draws: int,
    seed: int,
    axes: Sequence[int],
    device: torch.device,
    progress: bool,
) -> list[Row]:
    rows: list[Row] = []
    for kind, probe_names in (
        ("pooled", [probe for probe in probes if probe != "attentive"]),
        ("tokens", [probe for probe in probes if probe == "attentive"]),
    ):
        embed = source.choices if kind == "pooled" else source.tokens
        episodes = few_shot if kind == "pooled" else ()
        if embed is None or not (probe_names or episodes):
            continue
        with frozen(source.model):
            candidates = _extract(source, embed, data, device, progress)
        splits = candidates[0]
        classes = getattr(data, "num_classes", None) or int(splits.train.label.max()) + 1
        jobs = [
            (probe, budget)
            for probe in probe_names
            for budget in budgets
            if _fits(splits.train.label, budget)
        ]
        spaces = [knn_spaces(found.train.x, axes) if "knn" in probe_names else {} for found in candidates]
        for probe, budget in steps(jobs, f"probing {source.name}", progress):
            # Pairs of accuracies, on validation and test: validation chooses, the first among equals.
            scores = [
                max(
                    (
                        _score(probe, found, budget, classes, its_spaces, seed, draw, device)
                        for found, its_spaces in zip(candidates, spaces, strict=True)
                    ),
                    key=lambda pair: pair[0],
                )
                for draw in range(draws if budget else 1)
            ]
            for split, values in zip(("val", "test"), zip(*scores, strict=True), strict=True):
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                mean = statistics.fmean(values)
                rows.append(Row(source.name, probe, budget, split, "accuracy", mean, spread, len(values)))
        for ways, shots in episodes:
            rows.append(few_shot_row(source.name, splits.test, ways, shots, seed=seed))
    return rows


def _multilabel_source(
    source: Source, data: _Data, probes: Sequence[str], seed: int, device: torch.device, progress: bool
) -> list[Row]:
    # The paper's attentive probe has as many heads as its encoder.
    heads = getattr(getattr(source.model, "encoder", None), "heads", 12)
    shared: dict[str, Any] = {"device": device, "progress": progress}
    rows: list[Row] = []
    with frozen(source.model), torch.enable_grad():
        if "linear" in probes:
            rows += multilabel_rows(source.name, source.embed, data, **shared)
        if "attentive" in probes and source.tokens is not None:
            options = {**shared, "heads": heads, "seed": seed}
            rows += multilabel_rows(source.name, source.tokens, data, probe="attentive", **options)
    return rows


def _extract(
    source: Source,
    embed: Callable[[Any], Tensor | list[Tensor]],
    data: _Data,
    device: torch.device,
    progress: bool,
) -> list[_Splits]:
    """One for each of the features that ``embed`` gives."""
    widths: list[int] = []

    def side_by_side(batch: Any) -> Tensor:
        made = embed(batch)
        if isinstance(made, Tensor):
            return made
        widths[:] = [len(part[0]) for part in made]
        return torch.cat(made, dim=1)

    found = []
    for split in _SPLITS:
        loader = data.evaluation_dataloader(split)
        description = f"embedding {split} ({source.name})"
        features = extract(side_by_side, loader, device, description=description, progress=progress)
        features = features.labelled()
        if not len(features):
            raise ValueError(f"no sample of the {split} split has a label: frozen evaluation needs labels")
        parts = features.x.split(widths, dim=1) if widths else [features.x]  # type: ignore[no-untyped-call]
        found.append([dataclasses.replace(features, x=part) for part in parts])
    return [_Splits(*each) for each in zip(*found, strict=True)]


def _fits(label: Tensor, budget: int | None) -> bool:
    return budget is None or budget < int(label.bincount().max())


def _score(
    probe: Probe,
    splits: _Splits,
    budget: int | None,
    classes: int,
    spaces: Mapping[str, Space],
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
    elif probe == "svm":
        choice = svm_probe(train, splits.val, splits.test)
    elif probe == "mlp":
        choice = mlp_probe(
            (train.x, train.label),
            (splits.val.x, splits.val.label),
            (splits.test.x, splits.test.label),
            classes=classes,
            seed=seed,
            device=device,
        )
    else:
        with torch.enable_grad():
            choice = attentive_probe(
                train, splits.val, splits.test, classes=classes, seed=seed, device=device
            )
    return choice.val, choice.test

# SPDX-License-Identifier: Apache-2.0
r"""Frozen evaluation where the answer is a number: probes by root mean squared error.

A data module asks for it by ``task = "regression"``; its batches have ``target`` (B,) in standardised units,
NaN where unknown, and ``target_scale`` leads back to the original ones. Errors are over all rows of a split
at once (a mean over batches of their roots would depend on the batch size), chosen on validation, reported in
original units.

The linear probe is ridge regression in the principal axes of the standardised training features. There
features are uncorrelated, so every strength :math:`\lambda` has its solution at once, :math:`w_j = c_j / (v_j
+ \lambda)` with the covariance :math:`c_j` of feature and target and the variance :math:`v_j`. kNN takes the
mean of the neighbours' targets.
"""

import json
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.table import Table as RichTable
from torch import Tensor

from conjoin.core import random
from conjoin.core.evaluation.features import extract, frozen
from conjoin.core.evaluation.knn import Space, Votes, knn_spaces
from conjoin.core.evaluation.linear import principal_axes, standardiser
from conjoin.core.evaluation.mlp import mlp_probe
from conjoin.core.evaluation.progress import steps
from conjoin.core.evaluation.table import Row, Table

__all__ = ("RegressionChoice", "RegressionTable", "knn_regression", "regression_rows", "ridge_probe", "rmse")

Rows = tuple[Tensor, Tensor]
"""Features (N, D) and targets (N,)."""


@dataclass
class RegressionTable(Table):
    """Errors in original units.

    Attributes:
        target_scale: Standard deviation of the training targets: a value over it is the standardised error.
    """

    target_scale: float = 1.0

    def to_json(self, path: str | Path | None = None) -> str:
        """As of :class:`Table`, with ``target_scale`` beside the rows."""
        content = {**json.loads(super().to_json()), "target_scale": self.target_scale}
        text = json.dumps(content, indent=1)
        if path is not None:
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(text + "\n")
            os.replace(part, path)
        return text

    @classmethod
    def from_json(cls, text: str) -> "RegressionTable":
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        return cls([Row(**row) for row in content["rows"]], float(content.get("target_scale", 1.0)))

    def __rich__(self) -> RichTable:
        """Test errors: a line per features and probe, a column per budget, the smallest in bold."""
        shown = [row for row in self.rows if row.split == "test"]
        budgets = list(dict.fromkeys(row.budget for row in shown))
        table = RichTable(title="Frozen evaluation: test RMSE in original units (in standard deviations)")
        table.add_column("features")
        table.add_column("probe")
        for budget in budgets:
            table.add_column("all labels" if budget == "all" else f"{budget} labels", justify="right")
        for probe in dict.fromkeys(row.probe for row in shown):
            rivals = [row for row in shown if row.probe == probe]
            for features in dict.fromkeys(row.features for row in rivals):
                table.add_row(features, probe, *(self._cell(rivals, features, budget) for budget in budgets))
            table.add_section()
        return table

    def _cell(self, rivals: Sequence[Row], features: str, budget: str) -> str:
        column = [row for row in rivals if row.budget == budget]
        row = next((row for row in column if row.features == features), None)
        if row is None:
            return "-"
        spread = f" ± {row.std:.4g}" if row.draws > 1 else ""
        text = f"{row.value:.4g}{spread} ({row.value / self.target_scale:.3f})"
        return f"[bold]{text}[/bold]" if row.value == min(other.value for other in column) else text


@dataclass(frozen=True)
class RegressionChoice:
    """What validation chose, and how well it did.

    Attributes:
        setting: L2 strength, neighbours or epochs.
        val: Root mean squared error on the validation split.
        test: The same on the test split.
    """

    setting: float
    val: float
    test: float


def rmse(predicted: Tensor, target: Tensor) -> float:
    """Root of the mean squared difference."""
    return float((predicted.to(torch.float64) - target).square().mean().sqrt())


def ridge_probe(
    train: Rows,
    val: Rows,
    test: Rows,
    *,
    strengths: Sequence[float] = (10.0, 1.0, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
) -> RegressionChoice:
    """Fit on ``train``, choose the strength on ``val``, measure once on ``test``.

    Minimises ``mean (x w + b - y)^2 + strength |w|^2`` over standardised features x; b is free.

    Raises:
        ValueError: No strength.
    """
    if not strengths:
        raise ValueError("ridge_probe needs at least one L2 strength")
    mean, std = standardiser(train[0])
    offset = train[1].mean()
    x, axes = principal_axes((train[0] - mean) / std)
    variance = x.square().mean(0)
    covariance = (x * (train[1] - offset).unsqueeze(1)).mean(0)
    places = [((rows[0] - mean) / std) @ axes.T for rows in (val, test)]
    best: RegressionChoice | None = None
    for l2 in strengths:
        weight = covariance / (variance + l2)
        score = rmse(places[0] @ weight + offset, val[1])
        if best is None or score < best.val:
            best = RegressionChoice(l2, score, rmse(places[1] @ weight + offset, test[1]))
    assert best is not None
    return best


def knn_regression(
    train: Rows,
    val: Rows,
    test: Rows,
    *,
    spaces: Mapping[str, Space] | None = None,
    ks: Sequence[int] = (1, 5, 10, 20, 50),
) -> RegressionChoice:
    """Choose neighbours and space on ``val``, measure on ``test``; ``k`` above the bank's size is skipped."""
    usable = [k for k in ks if k <= len(train[0])] or [len(train[0])]
    best: RegressionChoice | None = None
    for place in (knn_spaces(train[0]) if spaces is None else spaces).values():
        bank, *queries = (place(rows[0]) for rows in (train, val, test))
        near = [Votes.of(bank, train[1], part, max(usable)).label for part in queries]
        for k in usable:
            score = rmse(near[0][:, :k].mean(1), val[1])
            if best is None or score < best.val:
                best = RegressionChoice(k, score, rmse(near[1][:, :k].mean(1), test[1]))
    if best is None:
        raise ValueError("knn_regression needs at least one k and one space")
    return best


class _Source(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def model(self) -> Any: ...
    @property
    def embed(self) -> Callable[[Any], Tensor]: ...


class _Data(Protocol):
    def evaluation_dataloader(self, split: Any) -> Iterable[Any]: ...


def regression_rows(
    source: _Source,
    data: _Data,
    budgets: Sequence[int | None],
    probes: Sequence[str],
    draws: int,
    seed: int,
    device: torch.device,
    progress: bool,
) -> list[Row]:
    """The rows of one feature set, errors in original units.

    Args:
        source: With ``name``, ``model`` and ``embed``.
        data: Its batches have ``target``.
        budgets: Labelled rows in all; None for all there are.
        probes: ``"linear"``, ``"knn"``, ``"mlp"``.
        draws: Draws of the labelled rows for each budget.
        seed: Of these draws and of the MLP.
        device: Where to embed and to train the MLP.
        progress: Show progress bars.

    Raises:
        ValueError: The attentive probe is asked for, or a split has no target.
    """
    if "attentive" in probes:
        raise ValueError("the attentive probe classifies: for a regression choose among linear, knn, mlp")
    with frozen(source.model):
        train, val, test = (
            _extract(source, data, split, device, progress) for split in ("train", "val", "test")
        )
    scale = float(getattr(data, "target_scale", 1.0))
    spaces = knn_spaces(train[0]) if "knn" in probes else {}
    jobs = [(p, b) for p in probes for b in budgets if b is None or b < len(train[0])]
    rows: list[Row] = []
    for probe, budget in steps(jobs, f"probing {source.name}", progress):
        scores = []
        for draw in range(draws if budget else 1):
            chosen = _draw(train, budget, seed, draw)
            if probe == "linear":
                choice: Any = ridge_probe(chosen, val, test)
            elif probe == "knn":
                choice = knn_regression(chosen, val, test, spaces=spaces)
            else:
                choice = mlp_probe(chosen, val, test, classes=None, seed=seed, device=device)
            scores.append((scale * choice.val, scale * choice.test))
        for split, values in zip(("val", "test"), zip(*scores, strict=True), strict=True):
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            mean = statistics.fmean(values)
            rows.append(Row(source.name, probe, budget, split, "rmse", mean, spread, len(values)))
    return rows


def _draw(train: Rows, budget: int | None, seed: int, draw: int) -> Rows:
    """Labelled rows of one draw; those of a smaller budget are among those of a larger."""
    if budget is None:
        return train
    key = torch.tensor(random.key(seed, "few_targets", draw))
    chosen = random.permutation(key, len(train[0]))[:budget]
    return train[0][chosen], train[1][chosen]


def _extract(source: _Source, data: _Data, split: str, device: torch.device, progress: bool) -> Rows:
    """Features and targets of a split, rows without a target left out."""

    def with_target(batch: Any) -> Tensor:
        features = source.embed(batch).to(torch.float32)
        # One more column: targets take the road of the features through gathering and de-duplication.
        return torch.cat((features, batch["target"].to(features).unsqueeze(1)), dim=1)

    loader = data.evaluation_dataloader(split)
    description = f"embedding {split} ({source.name})"
    found = extract(with_target, loader, device, description=description, progress=progress).x
    found = found[~found[:, -1].isnan()]
    if not len(found):
        raise ValueError(f"no sample of the {split} split has a target: frozen evaluation needs them")
    return found[:, :-1], found[:, -1]

# SPDX-License-Identifier: Apache-2.0
"""The top of the report: what was trained, on what, for how long, and whether it came out well."""

from collections.abc import Iterator
from typing import Any

from conjoin.core.evaluation.task import METRICS
from conjoin.core.report.evaluation import baseline, best_probe, reported, scores
from conjoin.core.report.health import Check, State, checks, verdict
from conjoin.core.report.html import Markup, Section, definitions, join, number, percent, tag
from conjoin.core.report.metrics import called, written
from conjoin.core.report.run import Run
from conjoin.core.report.subject import Subject

__all__ = ("facts", "headline_section", "short_name")

_SIGNS: dict[State, tuple[str, str]] = {
    "good": ("✓", "good"),
    "watch": ("!", "look closer"),
    "bad": ("✕", "bad"),
    "unknown": ("\u2013", "not measured"),
}


def short_name(run: Run, part: str) -> str | None:
    """The class that the configuration names under ``model`` or ``data``, without its package."""
    path = run.setting(f"{part}.class_path")
    return path.rpartition(".")[2] if isinstance(path, str) else None


def headline_section(run: Run, subject: Subject | None) -> Section:
    """Facts, verdict and tiles."""
    found = checks(run)
    state, sentence = verdict(found)
    sign, word = _SIGNS[state]
    light = tag("span", sign, class_="light", role="img", aria_label=word)
    parts = [
        tag("p", light, sentence, class_=f"verdict {state}"),
        tag("ul", *map(_tile, found), class_="tiles"),
        definitions(facts(run, subject)),
    ]
    return Section("summary", "Summary", join(parts))


def _tile(check: Check) -> Markup:
    sign, word = _SIGNS[check.state]
    return tag(
        "li",
        tag(
            "div", tag("span", sign, class_="light", role="img", aria_label=word), check.title, class_="what"
        ),
        tag("div", check.value, class_="value"),
        tag("div", check.rule, class_="rule"),
        class_=check.state,
    )


def facts(run: Run, subject: Subject | None) -> Iterator[tuple[str, str]]:
    """Names and values; what cannot be known is left out."""
    model = type(subject.model).__name__ if subject else short_name(run, "model")
    if model:
        yield "system", model
    data = type(subject.datamodule).__name__ if subject else short_name(run, "data")
    if data:
        yield "data", data
    if subject:
        yield "parameters", _parameters(subject.model)
        yield "token grid", " \u00d7 ".join(map(str, subject.model.encoder.grid))
    if run.steps is not None:
        yield "optimiser steps", number(run.steps + 1)
    epochs = run.series("epoch")
    if epochs is not None:
        yield "epochs", number(float(epochs.values.max()) + 1)
    batch = run.setting("data.init_args.batch_size")
    if isinstance(batch, int):
        yield "batch size", number(batch)
    if (minutes := _minutes(run, batch)) is not None:
        yield "training time", f"about {number(minutes, 2)} min (steps \u00d7 batch size ÷ median throughput)"
    seed = run.setting("seed_everything")
    if isinstance(seed, int):
        yield "seed", str(seed)
    yield from _final(run)


def _parameters(model: Any) -> str:
    """Encoder, the other trained parts, and what is carried without training."""

    def count(parameters: Any) -> int:
        return sum(parameter.numel() for parameter in parameters)

    encoder = count(model.encoder.parameters())
    trained = count(parameter for parameter in model.parameters() if parameter.requires_grad)
    return f"{number(encoder)} in the encoder, {number(trained)} trained in all"


def _minutes(run: Run, batch: Any) -> float | None:
    speed = run.series("throughput/samples_per_s")
    accumulated = run.setting("trainer.accumulate_grad_batches")
    if speed is None or run.steps is None or not isinstance(batch, int):
        return None
    middle = sorted(speed.values)[len(speed.values) // 2]
    micro = accumulated if isinstance(accumulated, int) else 1
    return float((run.steps + 1) * batch * micro / middle / 60) if middle > 0 else None


def _final(run: Run) -> Iterator[tuple[str, str]]:
    found = reported(scores(run))
    best = best_probe(found)
    for score in found:
        if not baseline(score.features) and (score.probe, score.budget) == best:
            name = f"{score.probe} {called(score.metric)}, {score.labels}, {score.split} split"
            yield name, written(score.metric, score.value)
    for name, title in (
        ("probe/linear_acc", "online linear probe, last"),
        ("probe/knn_acc", "online kNN, last"),
    ):
        if (series := run.series(name)) is not None:
            yield title, percent(series.last)
    for metric in METRICS.values():
        if (series := run.series(f"val/{metric}")) is not None:
            yield f"validation {called(metric)}, last", written(metric, series.last)
    if (loss := run.series("val/loss", "val/loss_epoch")) is not None:
        yield "validation loss, last", number(loss.last)

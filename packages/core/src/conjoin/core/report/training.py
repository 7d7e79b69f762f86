# SPDX-License-Identifier: Apache-2.0
"""What was logged over training: losses, schedules, online probes, throughput."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.core.evaluation.task import METRICS
from conjoin.core.report.figure import COLOURS, axis, figure, thin
from conjoin.core.report.html import Markup, Section, absent, join, number, tag
from conjoin.core.report.metrics import called, higher_is_better, written
from conjoin.core.report.run import Run, Series

__all__ = ("losses_section", "probes_section", "schedules_section", "smooth", "throughput_section")

_SCHEDULES = {
    "schedule/lr": "learning rate",
    "schedule/weight_decay": "weight decay",
    "schedule/ema": "EMA momentum",
}
_PROBES = {"probe/linear_acc": "online linear probe", "probe/knn_acc": "online kNN"}
_DASHES = ("solid", "dash", "dot", "dashdot")


def line(series: Series, name: str, place: int, **more: Any) -> dict[str, Any]:
    """A plotly line over the optimiser steps."""
    steps, values = thin(series.steps, series.values)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(steps) <= 40 else "lines",
        "name": name,
        "x": steps,
        "y": values,
        "line": {"color": COLOURS[place % len(COLOURS)], "width": 2, "dash": _DASHES[place % len(_DASHES)]},
        "marker": {"size": 6, "color": COLOURS[place % len(COLOURS)]},
        **more,
    }


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred moving average whose window shrinks at both ends; values that are not finite are left out."""
    finite = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    place = np.arange(len(values))
    half = np.minimum(window // 2, np.minimum(place, len(values) - 1 - place))
    low, high = place - half, place + half + 1
    seen = count[high] - count[low]
    return np.where(seen > 0, (total[high] - total[low]) / np.maximum(seen, 1), np.nan)


def losses_section(run: Run) -> Section:
    """Training loss with its moving average, validation loss, and the terms of the loss."""
    train = run.series("train/loss", "train/loss_step", "train/loss_epoch")
    val = run.series("val/loss", "val/loss_epoch")
    if train is None and val is None:
        return Section("losses", "Losses", absent(run.why("metrics.csv")))
    traces: list[dict[str, Any]] = []
    said = []
    if train is not None:
        window = max(1, len(train.values) // 25)
        if window > 2:
            traces.append(
                line(train, "training", 0, mode="lines", opacity=0.3, showlegend=False, hoverinfo="skip")
            )
            traces[-1]["line"] = {"color": COLOURS[0], "width": 1}
            traces.append(
                line(Series(train.steps, smooth(train.values, window)), "training, moving average", 0)
            )
        else:
            traces.append(line(train, "training", 0))
        said.append(f"the training loss goes from {number(float(train.values[0]))} to {number(train.last)}")
    if val is not None:
        traces.append(line(val, "validation", 1, mode="lines+markers"))
        said.append(f"the validation loss ends at {number(val.last)}")
    parts = [
        figure(
            "fig-losses",
            traces,
            {"xaxis": axis("optimiser step"), "yaxis": axis("loss", type=_scale(train or val))},
            alt="Loss over optimiser steps: " + "; ".join(said) + ".",
            caption="Loss over training. Faint: every logged step. A falling loss alone does not show that a "
            "joint-embedding method learns: read it beside rank, content and probes.",
        ),
        *_terms(run),
    ]
    return Section("losses", "Losses", join(parts))


def _scale(series: Series | None) -> str:
    """Logarithmic if all is positive and spans more than a decade."""
    values = series.values[np.isfinite(series.values)] if series is not None else np.empty(0)
    return "log" if len(values) and values.min() > 0 and values.max() > 10 * values.min() else "linear"


def _terms(run: Run) -> list[Markup]:
    terms = {
        name.removeprefix("train/"): series
        for name, series in run.metrics.items()
        if name.startswith("train/") and not name.startswith("train/loss") and not name.endswith("_epoch")
    }
    if not terms:
        return []
    return [
        figure(
            "fig-terms",
            [
                line(series, name.removesuffix("_step"), place)
                for place, (name, series) in enumerate(terms.items())
            ],
            {"xaxis": axis("optimiser step"), "yaxis": axis("term")},
            alt=f"Terms of the training loss over optimiser steps: {', '.join(terms)}.",
            caption="What else the method logged in training.",
        )
    ]


def schedules_section(run: Run) -> Section:
    """Learning rate, weight decay and EMA momentum."""
    found = {name: run.metrics[name] for name in _SCHEDULES if name in run.metrics}
    if not found:
        return Section("schedules", "Schedules", absent(run.why("metrics.csv")))
    plots = [
        figure(
            f"fig-{name.replace('/', '-')}",
            [line(series, _SCHEDULES[name], place)],
            {"xaxis": axis("optimiser step"), "yaxis": axis(_SCHEDULES[name])},
            alt=f"{_SCHEDULES[name]} over optimiser steps, "
            f"from {number(float(series.values[0]))} to {number(series.last)}.",
            caption=_SCHEDULES[name],
            height=240,
        )
        for place, (name, series) in enumerate(found.items())
    ]
    return Section("schedules", "Schedules", tag("div", *plots, class_="pair"))


def probes_section(run: Run) -> Section:
    """Accuracy of the online probes, or of the model itself where it is fine-tuned."""
    found = {name: run.metrics[name] for name in _PROBES if name in run.metrics}
    tuned = [_tuned(run, metric) for metric in METRICS.values() if f"val/{metric}" in run.metrics]
    if not found and tuned:
        return Section("probes", "Validation over training", join(tuned))
    if not found:
        return Section("probes", "Probes over training", absent(run.why("metrics.csv")))
    best = {_PROBES[name]: float(np.nanmax(series.values)) for name, series in found.items()}
    scaled = {name: Series(series.steps, 100 * series.values) for name, series in found.items()}
    body = figure(
        "fig-probes",
        [
            line(
                series,
                _PROBES[name],
                place,
                mode="lines+markers",
                hovertemplate="step %{x}: %{y:.1f} %<extra></extra>",
            )
            for place, (name, series) in enumerate(scaled.items())
        ],
        {"xaxis": axis("optimiser step"), "yaxis": axis("accuracy (%)", rangemode="tozero")},
        alt="Probe accuracy over optimiser steps; best: "
        + ", ".join(f"{name} {100 * value:.1f} %" for name, value in best.items())
        + ".",
        caption="Accuracy on the validation split of probes that train beside the method and never touch it.",
    )
    return Section("probes", "Probes over training", join([body, *tuned]))


def _tuned(run: Run, metric: str) -> Markup:
    """The figure of a fine-tuned model on the validation split."""
    series = run.metrics[f"val/{metric}"]
    share, name = higher_is_better(metric), called(metric)
    shown = Series(series.steps, 100 * series.values) if share else series
    return figure(
        f"fig-val-{metric}",
        [line(shown, name, 0, mode="lines+markers")],
        {
            "xaxis": axis("optimiser step"),
            "yaxis": axis(f"{name} ({'%' if share else 'original units'})", rangemode="tozero"),
        },
        alt=f"Validation {name} over optimiser steps, at the end {written(metric, series.last)}.",
        caption=f"{name} of the fine-tuned model on the whole validation split.",
    )


def throughput_section(run: Run) -> Section:
    """Samples per second, and what they cost."""
    series = run.series("throughput/samples_per_s")
    if series is None:
        return Section("throughput", "Throughput", absent(run.why("metrics.csv")))
    median = float(np.nanmedian(series.values))
    facts = [f"Median {number(median)} samples per second."]
    extras: Mapping[str, str] = {
        "throughput/data_wait": "The training loop waited for data {:.1%} of the time.",
        "throughput/max_memory_gib": "Peak memory {:.2f} GiB.",
    }
    for name, sentence in extras.items():
        if (other := run.series(name)) is not None:
            value = float(np.nanmedian(other.values) if name.endswith("wait") else np.nanmax(other.values))
            facts.append(sentence.format(value))
    plot = figure(
        "fig-throughput",
        [line(series, "samples per second", 0)],
        {"xaxis": axis("optimiser step"), "yaxis": axis("samples / s", rangemode="tozero")},
        alt=f"Training throughput over optimiser steps, median {number(median)} samples per second.",
        caption="Training throughput over windows of steps, validation left out.",
        height=240,
    )
    return Section("throughput", "Throughput", join([tag("p", " ".join(facts)), plot]))

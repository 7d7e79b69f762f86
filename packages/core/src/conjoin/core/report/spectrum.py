# SPDX-License-Identifier: Apache-2.0
"""Health over training: RankMe, content share, and the eigenvalues of the embedding covariance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.core.report.figure import COLOURS, axis, figure
from conjoin.core.report.html import Markup, Section, absent, join, number, percent, tag
from conjoin.core.report.run import Run, Series, Spectra
from conjoin.core.report.training import line

__all__ = ("RAMP", "health_section", "shown_eigenvalues", "spectrum_section")

_FLOOR = 1e-10  # eigenvalues below this part of the largest are rounding noise
# Ends of a ramp from blue over grey-green to yellow (after cividis), readable with any colour vision.
RAMP = ((0.0, "@ramp0"), (0.25, "@ramp1"), (0.5, "@ramp2"), (0.75, "@ramp3"), (1.0, "@ramp4"))


def health_section(run: Run) -> Section:
    """RankMe and content share over training."""
    plots = []
    rank = run.series("monitor/rankme") or _recorded(run, "rankme")
    if rank is not None:
        plots.append(
            _health_plot(
                rank, "RankMe", 0, float(rank.values[0]) / 4, "alarm: a quarter of the first value", number
            )
        )
    content = run.series("monitor/content_share") or _recorded(run, "content_share")
    if content is not None:
        plots.append(_health_plot(content, "content share", 1, 0.02, "alarm: 2 %", percent))
    if not plots:
        return Section("health", "Rank and content", absent(run.why("monitor.npz")))
    text = tag(
        "p",
        "RankMe is the effective number of dimensions that the embeddings use. Content share is the part of "
        "the targets' variance that differs between samples at the same position: where it vanishes, the "
        "targets say only where they are, and the loss can fall with nothing learned.",
    )
    return Section("health", "Rank and content", join([text, tag("div", *plots, class_="pair")]))


def _recorded(run: Run, name: str) -> Series | None:
    if run.spectra is None:
        return None
    values: NDArray[np.float64] = getattr(run.spectra, name)
    finite = np.isfinite(values)
    return Series(run.spectra.steps[finite], values[finite]) if finite.any() else None


def _health_plot(series: Series, name: str, place: int, alarm: float, label: str, write: Any) -> Markup:
    limit = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": alarm, "y1": alarm}
    note = {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": alarm,
        "yanchor": "bottom",
        "text": label,
        "showarrow": False,
        "font": {"size": 11, "color": "@bad"},
    }
    first, last = write(float(series.values[0])), write(series.last)
    return figure(
        f"fig-{name.lower().replace(' ', '-')}",
        [line(series, name, place, mode="lines+markers")],
        {
            "xaxis": axis("optimiser step"),
            "yaxis": axis(name, rangemode="tozero"),
            "shapes": [{**limit, "line": {"color": "@bad", "width": 1, "dash": "dot"}}],
            "annotations": [note],
        },
        alt=f"{name} over optimiser steps, from {first} to {last}; {label}.",
        caption=f"{name}, from {first} to {last}",
        height=280,
    )


def shown_eigenvalues(count: int, detected: set[int], most: int = 48) -> list[int]:
    """Which of ``count`` eigenvalues to draw: all, or log-spaced ones with every detected one."""
    if count <= most:
        return list(range(count))
    spaced = np.unique(np.geomspace(1, count, most).round().astype(int)) - 1
    return sorted(set(spaced.tolist()) | {index for index in detected if 0 <= index < count})


def spectrum_section(run: Run) -> Section:
    """Eigenvalue trajectories on logarithmic axes, with the detected steps, and whole spectra."""
    title = "Eigenvalues"
    if run.spectra is None:
        return Section("spectrum", title, absent(run.why("monitor.npz")))
    spectra = _positive(run.spectra)
    if not len(spectra.steps):
        return Section("spectrum", title, absent("monitor.npz holds no measurement after the first step."))
    text = tag(
        "p",
        "Eigenvalues of the covariance of the embeddings. In theory a joint-embedding method learns its "
        "dimensions one after the other, each in a sudden step; crosses mark the steps that were detected.",
    )
    return Section("spectrum", title, join([text, _trajectories(spectra), _spectrum(spectra)]))


def _positive(spectra: Spectra) -> Spectra:
    """Without step 0, which a logarithmic axis does not have."""
    keep = spectra.steps > 0
    return Spectra(
        spectra.steps[keep],
        spectra.eigenvalues[keep],
        spectra.rankme[keep],
        spectra.content_share[keep]
        if len(spectra.content_share) == len(keep)
        else np.full(keep.sum(), np.nan),
        spectra.detected.reshape(-1, 2),
        spectra.predicted,
    )


def _visible(spectra: Spectra) -> NDArray[np.float64]:
    """Eigenvalues (T, D) with NaN where they are noise."""
    floor = _FLOOR * np.nanmax(spectra.eigenvalues, initial=0.0)
    return np.where(spectra.eigenvalues > floor, spectra.eigenvalues, np.nan)


def _trajectories(spectra: Spectra) -> Markup:
    values, count = _visible(spectra), spectra.eigenvalues.shape[1]
    shown = shown_eigenvalues(count, {int(index) for index in spectra.detected[:, 1]})
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines" if len(spectra.steps) > 1 else "markers",
            "x": spectra.steps,
            "y": values[:, index],
            "line": {"width": 1.3, "color": {"ramp": np.log1p(index) / np.log(max(2, count))}},
            "name": f"λ{index + 1}",
            "showlegend": False,
            "hovertemplate": f"λ{index + 1} at step %{{x}}: %{{y:.3g}}<extra></extra>",
        }
        for index in shown
    ]
    traces.append(_scale(count))
    marked = [
        (step, values[np.abs(spectra.steps - step).argmin(), int(index)], int(index))
        for step, index in spectra.detected
        if 0 <= index < count and step > 0
    ]
    if marked:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [step for step, _, _ in marked],
                "y": [value for _, value, _ in marked],
                "text": [f"step of λ{index + 1}" for _, _, index in marked],
                "hovertemplate": "%{text} at step %{x}<extra></extra>",
                "marker": {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": "@c2"}},
                "name": f"detected steps ({len(marked)})",
                "showlegend": True,
            }
        )
    expected = [
        (step, values[np.abs(spectra.steps - step).argmin(), index], index)
        for index, step in enumerate(spectra.predicted[:count])
        if spectra.steps[0] <= step <= spectra.steps[-1]
    ]
    if expected:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [step for step, _, _ in expected],
                "y": [value for _, value, _ in expected],
                "text": [f"theory: step of λ{index + 1}" for _, _, index in expected],
                "hovertemplate": "%{text} at step %{x:.0f}<extra></extra>",
                "marker": {"symbol": "circle-open", "size": 11, "line": {"width": 2}, "color": "@c1"},
                "name": f"predicted steps ({len(expected)})",
                "showlegend": True,
            }
        )
    drawn = (
        ""
        if len(shown) == count
        else f" {len(shown)} of {count} are drawn, evenly on the logarithm of the rank."
    )
    steps = f"{len(marked)} discrete steps were detected." if marked else "No discrete step was detected."
    if expected:
        steps += f" Circles are the {len(expected)} steps that theory predicts for the leading eigenvalues."
    return figure(
        "fig-eigenvalues",
        traces,
        {
            "xaxis": axis("optimiser step", type="log"),
            "yaxis": axis("eigenvalue", type="log", **_decades(values)),
        },
        alt="Trajectories "
        f"of {len(shown)} eigenvalues of the embedding covariance, both axes logarithmic. {steps}",
        caption=f"Eigenvalues over training, both axes logarithmic, coloured by rank. {steps}{drawn}",
        height=460,
    )


def _decades(values: NDArray[np.float64]) -> dict[str, Any]:
    """One tick per decade where there are several."""
    known = values[np.isfinite(values)]
    return {"dtick": 1} if len(known) and known.max() > 100 * known.min() else {}


def _scale(count: int) -> dict[str, Any]:
    """An invisible trace that carries the colour bar."""
    ticks = [value for value in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if value <= count]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "showlegend": False,
        "hoverinfo": "skip",
        "marker": {
            "color": [0.0],
            "cmin": 0.0,
            "cmax": 1.0,
            "colorscale": [list(stop) for stop in RAMP],
            "showscale": True,
            "colorbar": {
                "title": {"text": "rank", "side": "top"},
                "tickvals": [float(np.log(tick) / np.log(max(2, count))) for tick in ticks],
                "ticktext": [str(tick) for tick in ticks],
                "thickness": 10,
                "outlinewidth": 0,
                "len": 0.9,
            },
        },
    }


def _spectrum(spectra: Spectra) -> Markup:
    values = _visible(spectra)
    moments = sorted({0, len(values) // 2, len(values) - 1})
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": np.arange(1, values.shape[1] + 1),
            "y": values[moment],
            "name": f"step {number(float(spectra.steps[moment]))}",
            "line": {
                "color": COLOURS[place],
                "width": 2,
                "dash": ("dot", "dash", "solid")[place - len(moments)],
            },
        }
        for place, moment in enumerate(moments)
    ]
    return figure(
        "fig-spectrum",
        traces,
        {
            "xaxis": axis("rank of the eigenvalue", type="log"),
            "yaxis": axis("eigenvalue", type="log", **_decades(values)),
        },
        alt="The eigenvalue spectrum at the beginning, in the middle and at the end of training.",
        caption="The whole spectrum early, in the middle and at the end. A cliff means unused dimensions.",
        height=320,
    )

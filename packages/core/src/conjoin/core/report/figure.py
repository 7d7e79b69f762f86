# SPDX-License-Identifier: Apache-2.0
"""Figures: plain plotly dictionaries that the page draws itself, so that they can follow its colours.

A colour is the *name* of one of the style sheet's variables behind an ``@`` (``"@c1"``); the script
of the page puts the value of light, dark or print mode in. All figures share the layout :data:`TEMPLATE`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.core.report.html import Markup, tag

__all__ = ("COLOURS", "TEMPLATE", "axis", "figure", "plotly_source", "script_json", "thin")

COLOURS = ("@c1", "@c2", "@c3", "@c4", "@c5", "@c6", "@c7", "@c8", "@c9", "@c10")

_AXIS = {
    "gridcolor": "@grid",
    "linecolor": "@line",
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": "@line",
    "ticklen": 4,
    "automargin": True,
    "exponentformat": "power",
    "title": {"standoff": 10},
}
TEMPLATE: dict[str, Any] = {
    "layout": {
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            "size": 13,
            "color": "@ink",
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(COLOURS),
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "bgcolor": "rgba(0,0,0,0)"},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@line", "font": {"color": "@ink"}},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@muted", "activecolor": "@ink"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "barmode": "group",
        "bargap": 0.25,
    }
}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """A plotly axis with a title."""
    return {"title": {"text": title}, **more}


def figure(
    name: str,
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    *,
    alt: str,
    caption: str,
    height: int = 340,
) -> Markup:
    """A figure that the page's script draws.

    Args:
        name: Unique in the page.
        traces: plotly traces.
        layout: What differs from :data:`TEMPLATE`.
        alt: What the figure shows, for those who cannot see it.
        caption: Stands under it.
        height: In CSS pixels.
    """
    place = tag("div", id=name, class_="plot", role="img", aria_label=alt, style=f"height:{height}px")
    spec = script_json({"data": list(traces), "layout": dict(layout)}, data_figure=name)
    return tag("figure", place, spec, tag("figcaption", caption))


def script_json(value: Any, **attributes: str) -> Markup:
    """A data block; no text in it can close the block or open a tag."""
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return tag("script", Markup(text), type="application/json", **attributes)


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes a gap; five digits are more than a screen shows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return (
            (int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.5g}"))
            if math.isfinite(value)
            else None
        )
    return value


def thin(
    steps: NDArray[np.float64], values: NDArray[np.float64], most: int = 1500
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of neighbouring points, so that at most ``most`` are left."""
    group = -(-len(steps) // most) if len(steps) else 1
    if group == 1:
        return steps, values
    starts = np.arange(0, len(steps), group)
    counts = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts


def plotly_source() -> str:
    """The plotly.js library as text.

    Raises:
        ImportError: If plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            'the report draws its figures with plotly, which is not installed: pip install "conjoin[report]"'
        ) from error
    # A script ends at this sequence wherever it stands; inside JavaScript strings "<\/" means the same.
    return str(get_plotlyjs()).replace("</script", "<\\/script")

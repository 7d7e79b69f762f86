# SPDX-License-Identifier: Apache-2.0
"""Pictures of the features: patch features as colours, and embeddings in the plane."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conjoin.core.checkpoint import fresh
from conjoin.core.report.figure import COLOURS, axis, figure
from conjoin.core.report.gallery import Panel, artist_of, show
from conjoin.core.report.html import Markup, Section, absent, join, tag
from conjoin.core.report.spectrum import RAMP
from conjoin.core.report.subject import Subject

__all__ = ("colours", "features_section", "gallery_section", "principal_axes", "projection_section")

_POOL = 64  # samples whose patches define the principal axes
_TSNE_DIM = 32  # distances in the leading components are what t-SNE needs, and cheaper
_SYMBOLS = ("circle", "square", "diamond", "cross", "x", "star", "pentagon", "hexagon", "hourglass", "bowtie")


def gallery_section(subject: Subject, count: int) -> Section:
    """Samples with their context and target masks."""
    model, title = subject.model, "Samples and masks"
    batch = next(subject.batches(count, size=count))
    masks = model.partition(batch) if hasattr(model, "partition") else None
    grid = tuple(model.encoder.grid)
    artist = artist_of(model, subject.datamodule, _entry(batch, 0), grid)
    drawn = []
    for place in range(len(batch["x"])):
        one = None if masks is None else _one(masks, place)
        drawn.append(show(artist.draw(_entry(batch, place), one, grid), _title(subject, batch, place)))
    text = f"Samples of the {subject.split} split."
    if masks is None:
        title = "Samples"
    else:
        text = (
            f"Samples of the {subject.split} split with the masks that the method draws for them: what the "
            "context encoder sees, and what the predictor must tell the features of."
        )
    return Section("gallery", title, join([tag("p", text), tag("div", *drawn, class_="gallery")]))


def _entry(batch: dict[str, Any], place: int) -> dict[str, Any]:
    return {name: value[place] for name, value in batch.items()}


def _one(masks: Any, place: int) -> Any:
    names = ("context", "targets", "context_valid", "targets_valid")
    parts = [getattr(masks, name) for name in names]
    return type(masks)(*(None if part is None else part[place : place + 1].cpu() for part in parts))


def _title(subject: Subject, batch: dict[str, Any], place: int) -> str:
    label = int(batch["label"][place]) if "label" in batch else -1
    number = f"#{int(batch['index'][place])}" if "index" in batch else f"#{place}"
    return f"{subject.label_name(label)} {number}" if label >= 0 else number


def principal_axes(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal component analysis.

    Args:
        values: (n, D).
        count: How many axes.

    Returns:
        Mean (D,), axes (D, count), and the share of the variance of each (count,). The sign of an axis is
        such that its largest entry is positive.
    """
    mean = values.mean(0)
    centred = (values - mean).double()
    power, vectors = torch.linalg.eigh(centred.T @ centred)
    axes = vectors.flip(1)[:, :count]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    share = power.flip(0)[:count].clamp(min=0) / power.clamp(min=0).sum().clamp(min=1e-30)
    return mean, axes.to(values.dtype), share


def colours(tokens: Tensor) -> Tensor:
    """The first three principal components of patch features as colours.

    Args:
        tokens: (B, N, D); the axes come from all of them together.

    Returns:
        uint8 (B, N, 3), each component stretched between its 1st and 99th percentile.
    """
    flat = tokens.flatten(0, 1).float()
    mean, axes, _ = principal_axes(flat, min(3, flat.shape[1]))
    values = (flat - mean) @ axes
    low, high = (_quantile(values, q) for q in (0.01, 0.99))
    values = ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    values = torch.nn.functional.pad(values, (0, 3 - values.shape[1]))
    return (255 * values).round().to(torch.uint8).reshape(*tokens.shape[:2], 3)


def _quantile(values: Tensor, q: float) -> Tensor:
    # torch.quantile refuses more than 2**24 entries.
    return torch.from_numpy(np.quantile(values.numpy(), q, axis=0)).to(values.dtype)


@torch.no_grad()
def features_section(subject: Subject, count: int) -> Section:
    """PCA of patch features as RGB maps beside the samples: trained, and at random initialisation.

    Tokens that do not lie on a grid of two axes have no map, and a sentence says so.
    """
    title = "Patch features"
    grid = tuple(subject.model.encoder.grid)
    if len(grid) != 2:
        told = " \u00d7 ".join(map(str, grid))
        sentence = f"Maps of features are drawn where tokens lie on a plane; here their grid is {told}."
        return Section("features", title, absent(sentence))
    pool = list(subject.batches(max(count, _POOL)))
    untrained = fresh(subject.model)
    trained = torch.cat([subject.model.tokens(batch) for batch in pool])
    random = torch.cat([untrained.tokens(batch) for batch in pool])
    maps = {
        "features": colours(trained),
        "content of features": colours(_content(trained)),
        "content, untrained": colours(_content(random)),
    }
    first = next(subject.batches(count, size=count))
    artist = artist_of(subject.model, subject.datamodule, _entry(first, 0), grid)
    lay = getattr(artist, "draw_grid", None)
    drawn = []
    for place in range(len(first["x"])):
        image = artist.draw(_entry(first, place), None, grid)[:1]
        shape = image[0].pixels.shape
        panels = [
            Panel(name, f"{name} of the patches as colours", _enlarged(found[place], grid, shape, lay))
            for name, found in maps.items()
        ]
        drawn.append(show([*image, *panels], _title(subject, first, place)))
    text = (
        "The first three principal components of the frozen patch features as red, green and blue, over the "
        f"patches of {len(trained)} samples. Patches of one colour have similar features. The second map "
        "leaves out what every sample has at the same position (the mean over samples), so that only content "
        "is left; the last one is the same for random weights, which is what training had to improve."
    )
    return Section("features", title, join([tag("p", text), tag("div", *drawn, class_="gallery")]))


def _content(tokens: Tensor) -> Tensor:
    return tokens - tokens.mean(0, keepdim=True)


def _enlarged(
    values: Tensor,
    grid: tuple[int, ...],
    shape: tuple[int, ...],
    lay: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> NDArray[np.uint8]:
    """A map (N, 3) of the grid at the size of an image, laid on it as its artist says."""
    cells = values.reshape(*grid, 3).numpy()
    cells = cells if lay is None else lay(cells)
    rows, columns = (
        np.arange(length) * cell // length for length, cell in zip(shape[:2], cells.shape[:2], strict=True)
    )
    return cells[np.ix_(rows, columns)]


def projection_section(subject: Subject, count: int) -> Section:
    """Embeddings in the plane, coloured by label."""
    values, labels = subject.embeddings(count)
    _, axes, share = principal_axes(values, 2)
    plane = ((values - values.mean(0)) @ axes).numpy()
    rulers = [
        f"component {place + 1} ({part:.0%} of the variance)" for place, part in enumerate(share.tolist())
    ]
    plots = [_scatter(subject, plane, labels, "pca", "PCA", rulers)]
    for name, title, method in (("tsne", "t-SNE", _tsne), ("umap", "UMAP", _umap)):
        if (place := method(values)) is not None:
            plots.append(_scatter(subject, place, labels, name, title, ["axis 1", "axis 2"]))
    numbers = labels.is_floating_point()
    told = "the number to predict." if numbers else "label. Click on a name to hide its points."
    text = f"Frozen embeddings of {len(values)} samples of the {subject.split} split, coloured by {told}"
    return Section(
        "projection", "Embeddings in the plane", join([tag("p", text), tag("div", *plots, class_="pair")])
    )


def _tsne(values: Tensor) -> NDArray[np.float64] | None:
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return None
    if len(values) < 10:
        return None
    few = min(_TSNE_DIM, values.shape[1])
    _, axes, _ = principal_axes(values, few)
    reduced = (values - values.mean(0)) @ axes
    perplexity = min(30.0, (len(values) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=500)
    return np.asarray(made.fit_transform(reduced.numpy()))


def _umap(values: Tensor) -> NDArray[np.float64] | None:
    try:
        from umap import UMAP  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    if len(values) < 20:
        return None
    return np.asarray(UMAP(random_state=0, n_jobs=1).fit_transform(values.numpy()))


def _scatter(
    subject: Subject, plane: NDArray[Any], answers: Tensor, name: str, title: str, rulers: list[str]
) -> Markup:
    traces = (
        [_by_number(plane, answers)]
        if answers.is_floating_point()
        else list(_by_class(subject, plane, answers))
    )
    bare = {"showticklabels": False, "ticks": ""}
    told = "coloured by the number to predict" if answers.is_floating_point() else f"{len(traces)} groups"
    return figure(
        f"fig-projection-{name}",
        traces,
        {
            "xaxis": axis(rulers[0], **bare),
            "yaxis": axis(rulers[1], **bare),
            "legend": {"y": -0.14, "yanchor": "top", "itemsizing": "constant"},
            "margin": {"l": 32, "r": 8, "t": 8, "b": 40},
        },
        alt=f"{title} of {len(answers)} embeddings, {told}.",
        caption=title,
        height=440 + 20 * _legend_rows(traces),
    )


def _legend_rows(traces: Sequence[dict[str, Any]]) -> int:
    """Lines that the names take below a plot of half of the page's width, beyond the first two."""
    longest = max(len(trace["name"]) for trace in traces)
    return max(0, math.ceil(len(traces) / max(1, 400 // (60 + 8 * longest))) - 2)


def _by_number(plane: NDArray[Any], answers: Tensor) -> dict[str, Any]:
    """One trace on a ramp between the 2nd and the 98th percentile; points without a number are left out."""
    seen = ~answers.isnan().numpy()
    values = answers.numpy()[seen]
    low, high = np.percentile(values, (2, 98)) if len(values) else (0.0, 1.0)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "target",
        "showlegend": False,
        "x": plane[seen, 0],
        "y": plane[seen, 1],
        "marker": {
            "size": 6,
            "opacity": 0.8,
            "color": values,
            "cmin": float(low),
            "cmax": float(high),
            "colorscale": [list(stop) for stop in RAMP],
            "colorbar": {"title": {"text": "target"}, "thickness": 12, "outlinewidth": 0},
        },
        "hovertemplate": "%{marker.color:.4g}<extra></extra>",
    }


def _by_class(subject: Subject, plane: NDArray[Any], labels: Tensor) -> Iterator[dict[str, Any]]:
    """A trace for each of the largest classes, as many as there are colours, and one for the rest."""
    known = sorted(set(labels.tolist()))
    counts = {label: int((labels == label).sum()) for label in known if label >= 0}
    several = sorted(sorted(counts, key=lambda label: -counts[label])[: len(COLOURS)])
    for place, label in enumerate([*several, None]):
        chosen = ~torch.isin(labels, torch.tensor(several)) if label is None else labels == label
        if not chosen.any():
            continue
        points = plane[chosen.numpy()]
        word = subject.label_name(label) if label is not None else ("no label" if known == [-1] else "others")
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": word.replace("<", "&lt;"),
            "x": points[:, 0],
            "y": points[:, 1],
            "marker": {
                "size": 6,
                "opacity": 0.75,
                "color": COLOURS[place] if label is not None else "@muted",
                "symbol": _SYMBOLS[place % len(_SYMBOLS)],
            },
            "hovertemplate": "%{fullData.name}<extra></extra>",
        }

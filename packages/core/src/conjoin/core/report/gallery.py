# SPDX-License-Identifier: Apache-2.0
"""The gallery: real samples with what the method sees of them and what it has to predict.

Who knows how a sample looks draws it. The contract is one method, ``draw`` of :class:`SampleArtist`, which a
data module or a system may have:

* A system draws if what its tokens are is its own business (the patches of a cloud), and is asked first.
* A data module draws what its samples look like (leads over time, the columns of a row), masks included.
* With neither, images (C, H, W) are drawn by :class:`ImageArtist`, spectrograms (1, F, T) too; everything
  else by :class:`~conjoin.core.report.arrays.ArrayArtist`, as shades and coloured tokens.

Where tokens lie on a plane, maps of their features stand beside the first picture of a sample. If rows of the
grid are not rows of that picture (time goes to the right, bands upwards), the artist also has a method
``draw_grid(cells (*grid, 3)) -> (rows, columns, 3)``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conjoin.core.masking import Masks
from conjoin.core.report.html import Markup, tag
from conjoin.core.report.png import data_uri

__all__ = ("BLOCKS", "ImageArtist", "Panel", "SampleArtist", "artist_of", "enlarge", "picture", "show")

# Target blocks, in hues that the common forms of colour blindness can tell apart (after Okabe and Ito).
BLOCKS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))
_SIDE = 192  # pixels that the longer side of a drawn image has at least
_HALF = 512  # wider pictures get the whole width of the page


@dataclass(frozen=True)
class Panel:
    """One picture of a sample.

    Pictures of one sample stand side by side, in half of the page's width, or in all of it if one is wider
    than 512 pixels; if one is more than three times as wide as high, they stand below each other. They are
    stretched to the room that they are given, so small ones may be drawn cell by cell.

    Attributes:
        caption: Under the picture.
        alt: In its place, for those who cannot see it.
        pixels: uint8 (H, W), (H, W, 3) or (H, W, 4).
    """

    caption: str
    alt: str
    pixels: NDArray[np.uint8]


@runtime_checkable
class SampleArtist(Protocol):
    """Whatever can draw a sample: the hook by which each modality shows itself in the report."""

    def draw(self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]) -> Sequence[Panel]:
        """Draw one sample.

        Args:
            sample: An entry of a batch of evaluation, after all its transforms, without the batch axis; ``x``
                is what the encoder gets.
            masks: The masks of this sample, on the CPU, with a batch axis of 1; ``None`` for a method that
                masks nothing.
            grid: The encoder's token grid; token indices in the masks are raster positions in it.

        Returns:
            The sample first. With masks also, at least, what the context encoder sees and what is to be
            predicted, in one picture or several. Captions say what the colours mean.
        """


@dataclass(frozen=True)
class ImageArtist:
    """Draws (C, H, W) images with one or three channels on a two-dimensional grid.

    Args:
        mean: Per channel, what normalisation subtracted.
        std: Per channel, what it divided by. Without both, each image is stretched to its own range.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def draw(self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]) -> list[Panel]:
        """The image; what of it the context encoder sees; the blocks to predict.

        Raises:
            ValueError: The sample is no such image.
        """
        image = enlarge(self.pixels(sample["x"]))
        panels = [Panel("image", "the sample", image)]
        if masks is None:
            return panels
        if len(grid) != 2:
            raise ValueError(f"an image needs a grid of two axes, not {grid}")
        context = _cells(
            masks.context[0], None if masks.context_valid is None else masks.context_valid[0], grid
        )
        blocks = [
            _cells(index, None if masks.targets_valid is None else masks.targets_valid[0, place], grid)
            for place, index in enumerate(masks.targets[0])
        ]
        share = 100 * context.mean()
        return [
            *panels,
            Panel(
                "context",
                f"the {share:.0f} % of the patches that the context encoder sees",
                _cut(image, context),
            ),
            Panel("targets", f"the {len(blocks)} blocks to predict, outlined", _outline(image, blocks)),
        ]

    def pixels(self, x: Tensor) -> NDArray[np.uint8]:
        """RGB pixels (H, W, 3) of a normalised image (C, H, W)."""
        if x.ndim != 3 or x.shape[0] not in (1, 3):
            raise ValueError(
                f"a sample of shape {tuple(x.shape)} is no image of 1 or 3 channels: its data module or "
                "system needs a method draw(sample, masks, grid)"
            )
        values = np.moveaxis(x.detach().float().cpu().numpy(), 0, -1)
        if self.mean is not None and self.std is not None:
            values = values * np.asarray(self.std) + np.asarray(self.mean)
        else:
            low, high = np.percentile(values, (0.5, 99.5))
            values = (values - low) / max(float(high - low), 1e-8)
        shown = (255 * np.clip(np.nan_to_num(values), 0, 1)).round().astype(np.uint8)
        return np.broadcast_to(shown, (*shown.shape[:2], 3)).copy()


def artist_of(model: Any, datamodule: Any, sample: Mapping[str, Any], grid: tuple[int, ...]) -> SampleArtist:
    """Who draws: the system, the data module, or a default for samples like this one."""
    from conjoin.core.report.arrays import ArrayArtist

    for owner in (model, datamodule):
        if isinstance(owner, SampleArtist):
            return owner
    x = sample["x"]
    if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[0] not in (1, 3) or len(grid) != 2:
        return ArrayArtist()
    mean, std = (_numbers(getattr(datamodule, name, None)) for name in ("mean", "std"))
    return ImageArtist(mean, std)


def _numbers(value: Any) -> tuple[float, ...] | None:
    return (
        tuple(float(item) for item in value)
        if isinstance(value, list | tuple | Tensor) and len(value)
        else None
    )


def enlarge(pixels: NDArray[np.uint8], side: int = _SIDE) -> NDArray[np.uint8]:
    """Repeat pixels so that the longer side has at least ``side``."""
    factor = max(1, -(-side // max(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _cells(index: Tensor, valid: Tensor | None, grid: tuple[int, ...]) -> NDArray[np.bool_]:
    """Token indices as a bool map of the grid."""
    chosen = np.zeros(grid, dtype=bool)
    chosen.reshape(-1)[(index if valid is None else index[valid]).cpu().numpy()] = True
    return chosen


def _spread(cells: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A grid map at pixel resolution."""
    rows, columns = (
        np.arange(length) * count // length for length, count in zip(shape, cells.shape, strict=True)
    )
    return cells[np.ix_(rows, columns)]


def _cut(image: NDArray[np.uint8], cells: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image, transparent outside the cells, so that the page shows through in light and dark."""
    alpha = np.where(_spread(cells, image.shape[:2]), 255, 0).astype(np.uint8)
    return np.concatenate([image, alpha[..., None]], axis=-1)


def _outline(image: NDArray[np.uint8], blocks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """The image in grey, each block tinted and framed in its colour."""
    canvas = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1) * 0.75 + 40
    width = max(2, max(image.shape[:2]) // 64)
    frames = []
    for place, block in enumerate(blocks):
        inside = _spread(block, image.shape[:2])
        colour = np.array(BLOCKS[place % len(BLOCKS)])
        canvas[inside] = 0.6 * canvas[inside] + 0.4 * colour
        frames.append((inside & ~_shrunk(inside, width), colour))
    for frame, colour in frames:
        canvas[frame] = colour
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _shrunk(inside: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """A region without its rim; beyond the image counts as outside."""
    for axis in (0, 1):
        padded = np.pad(inside, width)
        kept = inside.copy()
        for shift in (-width, width):
            moved = np.roll(padded, shift, axis)[
                width : width + inside.shape[0], width : width + inside.shape[1]
            ]
            kept &= moved
        inside = kept
    return inside


def picture(panel: Panel) -> Markup:
    """A panel as HTML."""
    height, width = panel.pixels.shape[:2]
    image = tag("img", src=data_uri(panel.pixels), alt=panel.alt, width=width, height=height)
    return tag("figure", image, tag("figcaption", panel.caption))


def show(panels: Sequence[Panel], title: str) -> Markup:
    """The panels of one sample side by side, or below each other if one is a long strip."""
    shapes = [panel.pixels.shape for panel in panels]
    strips = any(shape[1] > 3 * shape[0] for shape in shapes)
    kind = "sample whole" if max((shape[1] for shape in shapes), default=0) > _HALF else "sample"
    pictures = tag("div", *map(picture, panels), class_="panels strips" if strips else "panels")
    return tag("div", tag("h3", title), pictures, class_=kind)

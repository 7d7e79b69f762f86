# SPDX-License-Identifier: Apache-2.0
"""Scattered garments: small centred pictures thrown on cluttered canvases.

Centred, aligned pictures flatter raw pixels: on them a linear classifier needs no representation.
:func:`scatter` puts one picture per canvas at a random place and scale, on a smooth background with
noise and with fragments of *other* pictures, so that accuracy must be earned. Nothing is stored: a
canvas is a function of its key, its picture and the pool of fragments, whatever batch, order or
worker it is rendered in. All sums run over multiples of a power of two that fit float32 exactly, so
that holds to the bit.

One key per canvas decides everything about it: a data module numbers canvases over splits and epochs, so
that pre-training renders anew in every epoch and evaluation always sees the same pictures.
"""

import math

import torch
from torch import Tensor

from conjoin.core.random import randint, uniform

__all__ = ("scatter",)

# Resampling weights are multiples of 1/64: 8 bits of pixel and two times 6 of weight fit float32.
_STEPS = 64
_KNOTS = 4  # the background is a bilinear surface over 4 x 4 random levels
_BYTES = 6  # random bytes taken out of one 48-bit draw
_DRAWS = 7  # random numbers per fragment: picture, height, width, source (2), place (2)
# Noise is drawn from the key turned by this constant: a stream of its own.
_NOISE = 0x5CA77E12ED


def _hat(position: Tensor, count: int) -> Tensor:
    """Weights of linear interpolation: positions (..., n) to (..., n, count), exact in float32."""
    position = (position * _STEPS).round().div(_STEPS).clamp(0, count - 1).float()
    return (1 - (position.unsqueeze(-1) - torch.arange(count, device=position.device)).abs()).clamp(min=0)


def _background(draws: Tensor, size: int, low: int, high: int) -> Tensor:
    """Smooth surfaces between ``low`` and ``high``: draws (B, 16) to float32 (B, size, size)."""
    knots = (low + draws * (high - low)).floor().float().view(len(draws), _KNOTS, _KNOTS)
    steps = torch.arange(size, device=draws.device, dtype=torch.float64)
    weights = _hat(steps * ((_KNOTS - 1) / max(size - 1, 1)), _KNOTS)
    return weights @ knots @ weights.T


def _clutter(canvas: Tensor, draws: Tensor, pool: Tensor, extent: tuple[int, int]) -> None:
    """Paste fragments of pool pictures, in place.

    Args:
        canvas: float32 (B, size, size).
        draws: Uniform numbers (B, F, 7).
        pool: uint8 (P, H, W).
        extent: Least and greatest side of a fragment.
    """
    batch, size = canvas.shape[:2]
    count, rows, columns = pool.shape
    low, high = extent
    picture = (draws[..., 0] * count).long()
    tall = low + (draws[..., 1] * (high - low + 1)).long()
    wide = low + (draws[..., 2] * (high - low + 1)).long()
    source_y = (draws[..., 3] * (rows - tall + 1)).long()
    source_x = (draws[..., 4] * (columns - wide + 1)).long()
    place_y = (draws[..., 5] * (size - tall + 1)).long()
    place_x = (draws[..., 6] * (size - wide + 1)).long()
    cell = torch.arange(high, device=canvas.device)
    inside = (cell < tall.unsqueeze(-1)).unsqueeze(-1) & (cell < wide.unsqueeze(-1)).unsqueeze(-2)
    at = ((picture * rows + source_y) * columns + source_x)[..., None, None] + cell[:, None] * columns + cell
    pixels = pool.reshape(-1)[at.clamp(max=pool.numel() - 1)]
    # Black is transparent; what is not to be written goes to one spare cell behind the canvas.
    to = (place_y * size + place_x)[..., None, None] + cell[:, None] * size + cell
    to = torch.where(inside & (pixels > 0), to, size * size).flatten(2)
    values = pixels.flatten(2).float()
    flat = torch.cat((canvas.flatten(1), canvas.new_zeros(batch, 1)), dim=1)
    for index in range(draws.shape[1]):
        flat.scatter_(1, to[:, index], values[:, index])
    canvas.copy_(flat[:, :-1].view_as(canvas))


def _noise(keys: Tensor, size: int, amplitude: float) -> Tensor:
    """White noise, whole numbers uniform in +-amplitude: float32 (B, size, size)."""
    count = -(-size * size // _BYTES)
    bits = randint(keys ^ _NOISE, count, 1 << (8 * _BYTES))
    levels = bits.view(torch.int8).view(len(bits), count, 8)
    # Byte order: the empty two bytes are the high ones, last in memory on little-endian machines.
    levels = levels[..., :_BYTES].flatten(-2)[..., : size * size].reshape(len(bits), size, size)
    return (levels.float() * (amplitude / 128)).round_()


def scatter(
    garments: Tensor,
    keys: Tensor,
    pool: Tensor,
    size: int = 64,
    *,
    scale: tuple[float, float] = (0.7, 1.4),
    fragments: int = 6,
    fragment_size: tuple[int, int] = (5, 10),
    levels: tuple[int, int] = (0, 0),
    noise: float = 32.0,
) -> Tensor:
    """Put each picture at a random place and scale on a cluttered canvas of its own.

    Args:
        garments: The pictures, bright on black, uint8 (B, H, W).
        keys: One key per picture, int64 (B,); everything random about a canvas comes from it.
        pool: Pictures to cut fragments from, uint8 (P, h, w); usually the whole set.
        size: Side of the canvas.
        scale: Least and greatest factor on the picture's longer side; it lies wholly inside.
        fragments: Fragments per canvas, pasted behind the picture; black is transparent in both.
        fragment_size: Least and greatest side of a fragment, in pixels.
        levels: Darkest and brightest background.
        noise: Amplitude of the white noise, the same on every canvas (a level of its own would be the most
            predictable thing about a picture).

    Returns:
        uint8 (B, size, size) on the device of ``garments``. Row ``i`` depends on ``garments[i]``,
        ``keys[i]``, ``pool`` and the options only, bit for bit.

    Raises:
        ValueError: If a shape or type is off, or if something does not fit the canvas.
    """
    for name, pictures in (("garments", garments), ("pool", pool)):
        if pictures.ndim != 3 or pictures.dtype != torch.uint8:
            raise ValueError(f"{name} must be uint8 (N, H, W), not {pictures.dtype} {tuple(pictures.shape)}")
    batch, rows, columns = garments.shape
    if keys.shape != (batch,) or keys.dtype != torch.int64:
        raise ValueError(
            f"keys must be int64 ({batch},), one per picture, not {keys.dtype} {tuple(keys.shape)}"
        )
    longer = max(rows, columns)
    least, greatest = (max(1, round(factor * longer)) for factor in scale)
    if not least <= greatest <= size:
        raise ValueError(f"scale {scale} makes sides of {least} to {greatest} pixels for a canvas of {size}")
    if fragments and (
        not pool.numel() or not 1 <= fragment_size[0] <= fragment_size[1] <= min(size, *pool.shape[1:])
    ):
        raise ValueError(
            f"fragments of {fragment_size} pixels do not fit pool {tuple(pool.shape)} and canvas {size}"
        )

    draws = uniform(keys, 4 + _KNOTS**2 + _DRAWS * fragments)
    canvas = _background(draws[:, 4 : 4 + _KNOTS**2], size, *levels)
    if fragments:
        _clutter(canvas, draws[:, 4 + _KNOTS**2 :].view(batch, fragments, _DRAWS), pool, fragment_size)
    canvas += _noise(keys, size, noise)

    # The side is uniform in its logarithm; the picture is drawn as rows @ picture @ columns.
    side = (least * torch.exp(draws[:, 0] * math.log((greatest + 1) / least))).floor().clamp(max=greatest)
    ratio = longer / side
    steps = torch.arange(size, device=garments.device, dtype=torch.float64)
    weights = []
    for count, draw in ((rows, draws[:, 1]), (columns, draws[:, 2])):
        extent = (count / ratio).round().clamp(min=1)
        start = (draw * (size - extent + 1)).floor()
        offset = steps - start[:, None]
        within = (offset >= 0) & (offset < extent[:, None])
        weights.append(_hat((offset + 0.5) * ratio[:, None] - 0.5, count) * within[..., None])
    left, right = weights[0], weights[1].transpose(1, 2)
    pictures = garments.float()
    cover = left @ garments.gt(0).float() @ right
    return (canvas * (1 - cover) + left @ pictures @ right).round_().clamp_(0, 255).to(torch.uint8)

# SPDX-License-Identifier: Apache-2.0
"""Picture files to uint8 tensors by the fastest path that is right.

JPEG, PNG and WebP go through torchvision's decoders: for JPEG the same pixels as Pillow, in about half
the time, and already a tensor. Other formats and unusual pixel types go through Pillow. A JPEG several times
larger than what the crop needs is decoded at 1/2, 1/4 or 1/8 of its size (libjpeg scales while decoding;
Pillow calls it draft mode), which is many times faster and slightly smoother.
"""

import io
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from conjoin.core.data import CorruptSampleError

__all__ = ("EXTENSIONS", "decode", "decode_picture", "read_picture")

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif")
)
_MODES = {1: ("L", ImageReadMode.GRAY), 3: ("RGB", ImageReadMode.RGB)}
_JPEG = b"\xff\xd8\xff"
# Formats that torchvision reads, by their first bytes.
_NATIVE_GRAY = (_JPEG, b"\x89PNG")
_NATIVE = (*_NATIVE_GRAY, b"RIFF")


def _pillow(data: bytes, mode: str, short_side: int | None) -> Tensor:
    with Image.open(io.BytesIO(data)) as picture:
        if short_side is not None:
            width, height = picture.size
            factor = short_side / min(width, height)
            picture.draft(mode, (int(np.ceil(width * factor)), int(np.ceil(height * factor))))
        if picture.mode.startswith("I;16"):
            # Pillow cuts these off at 255 instead of scaling them.
            pixels = np.array(Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert(mode))
        else:
            pixels = np.array(picture.convert(mode))
    return torch.from_numpy(pixels[..., None] if pixels.ndim == 2 else pixels).permute(2, 0, 1)


def decode(data: bytes, channels: int = 3, short_side: int | None = None) -> Tensor:
    """Decode a picture.

    Args:
        data: The bytes of the file.
        channels: 1 for gray, 3 for RGB; transparency is dropped.
        short_side: A JPEG whose shorter side is at least twice this many pixels may be decoded smaller, but
            not below it. ``None``: always whole.

    Returns:
        uint8 (channels, H, W).

    Raises:
        ValueError, OSError, RuntimeError: If the bytes are no whole picture.
    """
    mode, read_mode = _MODES[channels]
    if short_side is not None and data.startswith(_JPEG):
        with Image.open(io.BytesIO(data)) as header:
            if min(header.size) >= 2 * short_side:
                return _pillow(data, mode, short_side)
    # torchvision does not turn WebP into gray.
    if data.startswith(_NATIVE if channels == 3 else _NATIVE_GRAY):
        # A copy, since torch warns of buffers that are read-only.
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        picture = cast(Tensor, decode_image(buffer, mode=read_mode))
        if picture.dtype == torch.uint8:
            return picture
    return _pillow(data, mode, None)


def read_picture(path: Path, channels: int = 3, short_side: int | None = None, least_side: int = 1) -> Tensor:
    """Read and decode one file.

    Args:
        path: The file.
        channels: 1 or 3.
        short_side: See :func:`decode`.
        least_side: Pictures with a side below this are refused.

    Returns:
        uint8 (channels, H, W).

    Raises:
        CorruptSampleError: If the file cannot be read, is no whole picture or is too small: one sentence with
            the path and the reason.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptSampleError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    return decode_picture(data, str(path), channels, short_side, least_side)


def decode_picture(
    data: bytes, what: str, channels: int = 3, short_side: int | None = None, least_side: int = 1
) -> Tensor:
    """Decode one picture or say what is wrong with it.

    Args:
        data: The bytes of its file.
        what: Names it in messages.
        channels: 1 or 3.
        short_side: See :func:`decode`.
        least_side: Pictures with a side below this are refused.

    Returns:
        uint8 (channels, H, W).

    Raises:
        CorruptSampleError: If it is empty, no whole picture or too small.
    """
    if not data:
        raise CorruptSampleError(f"{what} is empty; replace or remove it.")
    try:
        picture = decode(data, channels, short_side)
    except (ValueError, OSError, RuntimeError, SyntaxError, Image.DecompressionBombError) as error:
        reason = (
            str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        )
        # Pillow names the buffer by its address, which helps nobody.
        reason = reason.split(" <_io.")[0]
        raise CorruptSampleError(
            f"{what} is not a whole picture ({len(data)} bytes; {reason}); replace or remove it."
        ) from error
    height, width = picture.shape[-2:]
    if min(height, width) < least_side:
        raise CorruptSampleError(
            f"{what} is {width} x {height} pixels, smaller than one patch of {least_side}; remove it or "
            "use a smaller patch."
        )
    return picture

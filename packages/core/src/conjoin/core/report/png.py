# SPDX-License-Identifier: Apache-2.0
"""A PNG writer on zlib alone, so that core needs no imaging library.

PNG (ISO/IEC 15948): a signature, then chunks of length, type, data and CRC-32. Eight bits per sample,
no interlacing, every row with filter 0.
"""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ("data_uri", "encode_png")

_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}  # channels -> grey, RGB, RGB with alpha


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image.

    Args:
        pixels: uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGB with alpha.

    Raises:
        ValueError: Another shape or type, or an empty image.
    """
    image = pixels[..., None] if pixels.ndim == 2 else pixels
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in _COLOUR_TYPE or not image.size:
        raise ValueError(
            "a PNG needs uint8 pixels of shape (H, W), (H, W, 3) or (H, W, 4), "
            f"got {pixels.dtype} {pixels.shape}"
        )
    height, width, channels = image.shape
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """The image as a ``data:`` address that an ``<img>`` can hold."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

# SPDX-License-Identifier: Apache-2.0
import base64
import struct
import zlib

import numpy as np
import pytest

from conjoin.core.report.png import data_uri, encode_png


def decode(data: bytes) -> np.ndarray:
    """A reader of its own: walks the chunks, checks every CRC, undoes filter 0."""
    assert data[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    place, chunks = 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        chunks[kind], place = body, place + 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    channels = {0: 1, 2: 3, 6: 4}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    assert kind == b"IEND"
    return rows[:, 1:].reshape(height, width, channels)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1, 1)])
def test_pixels_survive(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = decode(encode_png(pixels))
    np.testing.assert_array_equal(found.reshape(shape), pixels)


def test_a_known_reader_agrees() -> None:
    image = pytest.importorskip("PIL.Image")
    import io

    pixels = np.random.default_rng(1).integers(0, 256, (9, 4, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_data_uri() -> None:
    pixels = np.zeros((2, 2), np.uint8)
    kind, data = data_uri(pixels).split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == encode_png(pixels)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2)), np.zeros(4, np.uint8), np.zeros((0, 2), np.uint8)],
)
def test_what_is_no_image_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a PNG needs uint8"):
        encode_png(pixels)

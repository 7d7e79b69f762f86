# SPDX-License-Identifier: Apache-2.0
import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from conjoin.core.data import CorruptSampleError
from conjoin.vision.data.decode import decode, read_picture


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {}), ("PPM", {})],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_pillows(make_picture, form, options, channels):
    data = encoded(make_picture(0), form, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert({1: "L", 3: "RGB"}[channels]))
    x = decode(data, channels)
    assert x.dtype == torch.uint8
    assert x.shape == (channels, 40, 52)
    found = x.permute(1, 2, 0).numpy().reshape(expected.shape).astype(int)
    # A JPEG's own luminance is not that of its colours after they were cut to [0, 255]; other gray
    # values differ by rounding.
    assert np.abs(found - expected).max() <= (0 if channels == 3 else 5)
    assert np.abs(found - expected).mean() < 0.7


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "CMYK"])
def test_every_pixel_type_becomes_rgb(make_picture, mode):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(make_picture(0, mode="L")).astype(np.uint16) * 257)
    else:
        image = make_picture(0, mode="RGBA" if mode == "LA" else "RGB").convert(mode)
    x = decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert x.shape == (3, 40, 52)
    assert x.dtype == torch.uint8
    assert x.float().std() > 20


def test_large_jpegs_are_decoded_smaller_but_never_below_the_need(make_picture):
    image = make_picture(0, 800, 1000)
    data = encoded(image, "JPEG", quality=95)
    assert decode(data, short_side=401).shape == (3, 800, 1000)
    small = decode(data, short_side=100)
    assert small.shape == (3, 100, 125)
    assert decode(data, short_side=101).shape == (3, 200, 250)
    expected = torch.from_numpy(np.array(image.resize((125, 100), Image.Resampling.BOX))).permute(2, 0, 1)
    assert (small.float() - expected.float()).abs().mean() < 3
    assert decode(encoded(image, "PNG"), short_side=100).shape == (3, 800, 1000)


def test_reduced_gray(make_picture):
    assert decode(encoded(make_picture(0, 800, 1000), "JPEG"), 1, 100).shape == (1, 100, 125)


def refuse(path, message, **options):
    with pytest.raises(CorruptSampleError, match=message) as caught:
        read_picture(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.endswith(".")


def test_truncated_jpeg(tmp_path, make_picture):
    data = encoded(make_picture(0, 300, 300), "JPEG")
    path = tmp_path / "cut.jpg"
    for share in (0.9, 0.5, 0.05):
        path.write_bytes(data[: int(len(data) * share)])
        refuse(path, "is not a whole picture .* replace or remove it")
    path.write_bytes(data[: int(len(data) * 0.5)])
    refuse(path, "is not a whole picture", short_side=20)


def test_not_a_picture(tmp_path):
    (tmp_path / "text.jpg").write_text("this is no picture at all")
    refuse(tmp_path / "text.jpg", "is not a whole picture")
    (tmp_path / "text.png").write_bytes(b"\x89PNG but not really")
    refuse(tmp_path / "text.png", "is not a whole picture")


def test_empty_missing_and_folder(tmp_path):
    (tmp_path / "none.jpg").touch()
    refuse(tmp_path / "none.jpg", "is empty")
    refuse(tmp_path / "gone.jpg", "cannot be read")
    (tmp_path / "folder.jpg").mkdir()
    refuse(tmp_path / "folder.jpg", "cannot be read")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden(tmp_path, write_picture):
    write_picture(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").chmod(0)
    refuse(tmp_path / "a.jpg", "Permission denied")


def test_smaller_than_a_patch(tmp_path, write_picture):
    write_picture(tmp_path / "a.png", height=15, width=40)
    refuse(tmp_path / "a.png", "is 40 x 15 pixels, smaller than one patch of 16", least_side=16)
    assert read_picture(tmp_path / "a.png", least_side=15).shape == (3, 15, 40)

# SPDX-License-Identifier: Apache-2.0
"""Tiny folders in the real formats."""

import numpy as np
import pytest
from PIL import Image


def picture(seed, height=40, width=52, mode="RGB"):
    """Smooth random colours: JPEG keeps them nearly unchanged."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def write(path, seed=0, height=40, width=52, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, height, width).save(path, **options)


@pytest.fixture
def labelled(tmp_path):
    """root/CLASS/*.jpg: three classes of ten."""
    for label, name in enumerate(("ant", "bee", "cow")):
        for number in range(10):
            write(tmp_path / name / f"{number}.jpg", seed=label * 10 + number)
    return tmp_path


@pytest.fixture
def write_picture():
    return write


@pytest.fixture
def make_picture():
    return picture

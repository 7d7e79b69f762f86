# SPDX-License-Identifier: Apache-2.0
import numpy as np

from conjoin.audio.data.draw import colours, outlined


def test_time_runs_right_and_bands_upwards():
    x = np.zeros((40, 20), np.float32)
    x[30:] += 1  # loud at the end
    x[:, 15:] += 1  # and in high bands
    image = colours(x).astype(int).sum(axis=2)
    assert image.shape == (60, 120)
    assert image[50, 100] > image[50, 10]
    assert image[5, 10] > image[50, 10]
    assert image[5, 100] > image[5, 10]


def test_hidden_patches_are_grey():
    x = np.random.default_rng(0).normal(size=(40, 20)).astype(np.float32)
    seen = np.zeros((4, 2), bool)
    seen[1, 0] = True  # frames 10 to 19, low half of the bands
    grey = (colours(x, seen) == 225).all(axis=2)
    expected = np.ones((60, 120), bool)
    expected[30:, 30:60] = False
    np.testing.assert_array_equal(grey, expected)


def test_targets_are_outlined_and_the_image_is_left_alone():
    image = np.zeros((60, 120, 3), np.uint8)
    blocks = np.zeros((2, 4, 2), bool)
    blocks[0, 1, 0] = True
    blocks[1, 3] = True
    drawn = outlined(image, blocks)
    assert not image.any()
    marked = drawn.any(axis=2)
    assert marked[59, 30:60].all()
    assert marked[30, 30:60].all()
    assert not marked[34:56, 34:56].any()
    assert not marked[:30, :90].any()
    assert (drawn[0, 90] == (230, 159, 0)).all()
    assert marked.sum() == 4 * 30 * 2 - 16 + 2 * (60 + 30) * 2 - 16


def test_wide_and_constant_maps():
    assert colours(np.zeros((1024, 128), np.float32)).shape == (128, 1024, 3)

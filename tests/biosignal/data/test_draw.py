# SPDX-License-Identifier: Apache-2.0
import numpy as np

from conjoin.biosignal.data.draw import strips
from conjoin.biosignal.data.lettering import lettering


def rows_of(image, lead):
    """Mean row of the trace in each column of a lead's strip."""
    trace = (image[30 * lead : 30 * lead + 30] == (30, 40, 60)).all(axis=2)
    return (trace * np.arange(30)[:, None]).sum(axis=0) / trace.sum(axis=0)


def test_the_trace_follows_the_signal():
    time = np.linspace(-1, 1, 400)
    x = np.stack([4 * time, 0 * time, np.where(time > 0, 100.0, -100.0)]).astype(np.float32)
    image = strips(x)
    assert image.shape == (90, 800, 3)
    rising = rows_of(image, 0)
    np.testing.assert_allclose(rising, np.linspace(29, 0, 800), atol=1)
    assert set(rows_of(image, 1)) == {14.5}
    step = rows_of(image, 2)
    assert (step[0], step[-1]) == (29, 0)


def test_hidden_patches_are_tinted():
    x = np.zeros((2, 100), np.float32)
    hidden = np.array([False, True, True, False])
    tinted = (strips(x, hidden)[0] == (255, 221, 170)).all(axis=1)
    np.testing.assert_array_equal(tinted[[50, 150, 250, 350, 450, 550, 650, 750]], np.repeat(hidden, 2))


def test_names_stand_in_a_margin_beside_their_rows():
    x = np.zeros((3, 100), np.float32)
    plain, named = strips(x), strips(x, names=("I", "AVR", "V1"))
    margin = named.shape[1] - 800
    assert (
        margin == 2 * (3 + 1 + 3 + 1 + 3) + 2 * 6
    )  # AVR is the longest: three letters, two gaps, both sides
    np.testing.assert_array_equal(named[:, margin:], plain)
    ink = (named[:, :margin] == (30, 40, 60)).all(axis=2)
    for row, name in enumerate(("I", "AVR", "V1")):
        word = lettering(name)
        part = ink[30 * row : 30 * row + 30]
        np.testing.assert_array_equal(part[10:20, 6 : 6 + word.shape[1]], word)
        assert part.sum() == word.sum()
    # Tinting stays with time.
    np.testing.assert_array_equal(
        strips(x, np.array([True, False]), ("a", "b", "c"))[:, -800:], strips(x, np.array([True, False]))
    )


def test_more_columns_than_samples_leave_no_gap():
    image = strips(np.sin(np.arange(10))[None].astype(np.float32))
    assert (image == (30, 40, 60)).all(axis=2).any(axis=0).all()

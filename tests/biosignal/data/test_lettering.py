# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np

from conjoin.biosignal.data.leads import LEADS
from conjoin.biosignal.data.lettering import _GLYPHS, lettering


def test_a_letter_is_its_dots_enlarged():
    found = lettering("t", scale=1)
    assert found.tolist() == [[True, True, True], *[[False, True, False]] * 4]
    np.testing.assert_array_equal(lettering("T", scale=3), found.repeat(3, 0).repeat(3, 1))


def test_words_are_letters_with_gaps_between():
    word = lettering("V6", scale=1)
    assert word.shape == (5, 7)
    assert not word[:, 3].any()
    np.testing.assert_array_equal(word[:, :3], lettering("V", 1))
    np.testing.assert_array_equal(word[:, 4:], lettering("6", 1))


def test_glyphs_are_whole_and_tell_letters_apart():
    for glyph in _GLYPHS.values():
        rows = glyph.split()
        assert len(rows) == 5
        assert len({len(row) for row in rows}) == 1
        assert set(glyph) <= set("#. ")
    assert len(set(_GLYPHS.values())) == len(_GLYPHS) == 37
    words = [lettering(name) for name in LEADS]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(words, 2))


def test_what_has_no_glyph_is_a_gap():
    assert lettering("?", 1).tolist() == [[False] * 3] * 5
    assert lettering("").shape == (10, 0)

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from conjoin import samples
from conjoin.samples.sounds import compress, expand


def test_mu_law_is_accurate_and_keeps_zero():
    x = np.linspace(-1, 1, 20_001)
    back = expand(compress(x))
    assert np.abs(back - x).max() < 0.022
    assert np.array_equal(expand(np.zeros(3, np.int8)), np.zeros(3, np.float32))
    assert [expand(np.array([n], np.int8))[0] for n in (127, -127)] == [1.0, -1.0]
    rng = np.random.default_rng(0)
    for level in (0.5, 0.05):
        loud = (level * np.sin(np.arange(4000) * 0.3) * rng.uniform(0.5, 1, 4000)).astype(np.float32)
        noise = expand(compress(loud)) - loud
        assert 10 * np.log10(np.square(loud).sum() / np.square(noise).sum()) > 30


@pytest.mark.parametrize(
    ("name", "sizes", "classes"), [("words", (960, 140, 300), 20), ("notes", (400, 80, 160), 16)]
)
def test_sets(name, sizes, classes):
    found = samples.sounds(name)
    assert found.rate == 8000
    assert len(found.class_names) == classes
    for split, size in zip((found.train, found.validation, found.test), sizes, strict=True):
        assert split.waves.shape == (size, 8000)
        assert split.waves.dtype == np.float32
        assert (np.bincount(split.labels) == size // classes).all()
        # Each clip has a peak of a half, somewhere, and silence around a sound of its own length.
        np.testing.assert_allclose(np.abs(split.waves).max(axis=1), 0.5, atol=0.01)
        sounding = (split.waves != 0).argmax(axis=1)
        assert len(set(sounding.tolist())) > size / 4


def pitch(wave, rate):
    """Frequency of the strongest autocorrelation between 70 and 1,000 Hz."""
    size = 1 << 15
    spectrum = np.abs(np.fft.rfft(wave, size)) ** 2
    correlation = np.fft.irfft(spectrum)
    lags = np.arange(rate // 1000, rate // 70)
    return rate / lags[correlation[lags].argmax()]


def test_notes_have_the_pitch_that_they_say():
    notes = samples.sounds("notes")
    low = notes.train.groups < 60
    right = 0
    for wave, number in zip(notes.train.waves[low], notes.train.groups[low], strict=True):
        expected = 440 * 2 ** ((number - 69) / 12)
        octaves = np.log2(pitch(wave, notes.rate) / expected)
        right += abs(octaves - round(octaves)) < 0.04
    assert right > 0.85 * low.sum()
    splits = [set(part.groups.tolist()) for part in (notes.train, notes.validation, notes.test)]
    assert [len(part) for part in splits] == [25, 5, 10]
    assert set.union(*splits) == set(range(40, 80))


def test_words_of_one_speaker():
    words = samples.sounds("words")
    assert words.class_names[:4] == ("yes", "no", "up", "down")
    assert [len(set(part.groups.tolist())) for part in (words.train, words.validation, words.test)] == [
        48,
        7,
        15,
    ]
    for part in (words.train, words.test):
        for speaker in (0, 3):
            assert sorted(part.labels[part.groups == speaker].tolist()) == list(range(20))


def test_load_finds_them_and_they_are_shared():
    assert samples.load("notes") is samples.sounds("notes")
    assert samples.load("words").rate == 8000
    with pytest.raises(ValueError, match="read-only"):
        samples.sounds("notes").train.waves[0] = 0
    with pytest.raises(ValueError, match="no sound set 'birds'; choose words or notes"):
        samples.sounds("birds")


def test_licences_name_the_sources():
    assert "eSpeak NG" in samples.licence("words")
    for word in ("TimGM6mb", "GNU General Public License", "version 2"):
        assert word in samples.licence("notes")

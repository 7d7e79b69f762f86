# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from conjoin import samples


def test_ecg_has_every_combination_equally_often():
    ecg = samples.ecg()
    assert (ecg.rate, len(ecg.leads)) == (100, 12)
    for split, each in (("train", 80), ("validation", 12), ("test", 24)):
        part = getattr(ecg, split)
        assert part.signals.shape == (20 * each, 12, 500)
        assert part.signals.dtype == np.float32
        counts = np.zeros((5, 4), int)
        np.add.at(counts, (part.rhythms, part.morphologies), 1)
        assert (counts == each).all()
    assert ecg.rhythm_names[3] == "irregular"
    assert ecg.morphology_names == ("normal", "wide QRS", "T inversion", "ST elevation")


def test_ecg_limb_leads_obey_einthoven():
    x = samples.ecg().test.signals
    leads = {name: x[:, number] for number, name in enumerate(samples.ecg().leads)}
    np.testing.assert_allclose(leads["I"] + leads["III"], leads["II"], atol=1e-6)
    np.testing.assert_allclose(leads["AVR"] + leads["AVL"] + leads["AVF"], 0, atol=1e-6)
    np.testing.assert_allclose(leads["AVF"], (leads["II"] + leads["III"]) / 2, atol=1e-6)


def beats(signal):
    """Intervals between R peaks of lead V4, in seconds."""
    high = signal > 0.55 * signal.max()
    starts = np.flatnonzero(high[1:] & ~high[:-1])
    return np.diff(starts) / samples.ecg().rate


def test_ecg_rhythms_are_what_their_names_say():
    part = samples.ecg().test
    rates, spreads = [], []
    for rhythm in range(5):
        chosen = part.signals[(part.rhythms == rhythm) & (part.morphologies == 0), 9]
        found = [beats(signal) for signal in chosen]
        rates.append(np.median([60 / np.median(one) for one in found]))
        spreads.append(np.median([one.std() / one.mean() for one in found]))
    assert rates[1] < 52 < rates[0] < 100 < rates[2]
    assert spreads[3] > 4 * spreads[0]
    assert spreads[4] > 3 * spreads[0]


def test_eeg_sets():
    scp = samples.eeg()
    assert [len(part) for part in (scp.train, scp.validation, scp.test)] == [214, 54, 293]
    assert scp.train.signals.shape[1:] == (6, 448)
    assert scp.rate == 128
    assert scp.class_names == ("negativity", "positivity")
    fingers = samples.eeg("finger_movements")
    assert [len(part) for part in (fingers.train, fingers.validation, fingers.test)] == [253, 63, 100]
    assert fingers.train.signals.shape[1:] == (28, 50)
    assert len(fingers.channels) == 28
    for part in (scp.test, fingers.test):
        assert 0.4 < part.labels.mean() < 0.6
        assert 5 < part.signals.std() < 200
    # Cortical negativity and positivity differ in slow potentials at the vertex.
    mean = [scp.train.signals[scp.train.labels == label, 0].mean() for label in (0, 1)]
    assert mean[0] != pytest.approx(mean[1], abs=2)


def test_load_finds_them_and_they_are_shared():
    assert samples.load("ecg") is samples.ecg()
    assert len(samples.load("eeg").channels) == 6
    with pytest.raises(ValueError, match="read-only"):
        samples.ecg().train.signals[0] = 0
    with pytest.raises(ValueError, match="no EEG task 'sleep'; choose self_regulation or finger_movements"):
        samples.eeg("sleep")


def test_licences_name_the_sources():
    assert "MIT-licensed" in samples.licence("ecg")
    for word in ("Tuebingen", "Fraunhofer", "BSD 3-Clause"):
        assert word in samples.licence("eeg")

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from conjoin.biosignal.transforms import add_wander, highpass, interpolate_nans, resample, standardise

TIME = np.arange(5000) / 500


def sines(*frequencies):
    return np.stack([np.sin(2 * np.pi * f * TIME) for f in frequencies]).astype(np.float32)


def test_gaps_become_straight_lines():
    x = np.array([[np.nan, 1, np.nan, np.nan, 4, np.inf], [0, 1, 2, 3, 4, 5]], np.float32)
    mended = interpolate_nans(x)
    assert mended.tolist() == [[1, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 5]]
    assert np.isnan(x[0, 0])
    assert interpolate_nans(mended) is mended
    with pytest.raises(ValueError, match="lead 1 has no finite value"):
        interpolate_nans(np.array([[0, 1], [np.nan, np.nan]], np.float32))


def test_resampling_keeps_tones():
    x = sines(1, 10)
    slow = resample(x, 500, 100)
    assert slow.shape == (2, 1000)
    np.testing.assert_allclose(slow, x[:, ::5], atol=1e-4)
    np.testing.assert_allclose(resample(slow, 100, 500), x, atol=1e-4)
    assert resample(x, 500, 500) is x
    assert resample(np.zeros((1, 4096), np.float32), 400, 500).shape == (1, 5120)
    with pytest.raises(ValueError, match="must be positive, not 0 and 500"):
        resample(x, 0, 500)


def test_highpass_removes_wander_without_delay():
    time = np.arange(30_000) / 500
    x = np.stack([np.sin(2 * np.pi * f * time) for f in (0.1, 10)]).astype(np.float32)
    middle = slice(10_000, 20_000)  # away from the ends, where the filter starts up
    passed = highpass(x, 500)[:, middle]
    assert np.abs(passed[0]).max() < 0.01
    np.testing.assert_allclose(passed[1], x[1, middle], atol=1e-3)
    # Forwards and backwards: at the cut-off half of the amplitude is left.
    at = highpass(np.sin(2 * np.pi * 0.5 * np.arange(50_000) / 500)[None].astype(np.float32), 500)
    assert np.abs(at[0, 20_000:30_000]).max() == pytest.approx(0.5, abs=0.01)
    for cutoff in (0, 250):
        with pytest.raises(ValueError, match="between 0 and 250 Hz"):
            highpass(sines(1), 500, cutoff)


def test_standardise_per_lead_and_clip():
    x = np.array([[1.0, 3.0, 100.0], [0.0, 2.0, -4.0]], np.float32)
    assert standardise(x, [1, 0], [2, 4]).tolist() == [[0, 1, 5], [0, 0.5, -1]]
    assert standardise(x, [1, 0], [2, 4], None)[0, 2] == 49.5
    assert standardise(x, [1, 0], [2, 4]).dtype == np.float32


def test_wander_is_slow_and_keyed():
    x = np.zeros((3, 5000), np.float32)
    wander = add_wander(x, 500, 0.2, seed=1)
    assert np.array_equal(wander, add_wander(x, 500, 0.2, seed=1))
    assert not np.array_equal(wander, add_wander(x, 500, 0.2, seed=2))
    assert 0.05 < np.abs(wander).max() <= 0.2
    assert np.abs(np.diff(wander)).max() < 0.2 * 2 * np.pi * 0.4 / 500 * 1.01

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from writing import signal

from conjoin.biosignal.data import LEADS, Preparation, Record, RecordDataset, Statistics, measure
from conjoin.biosignal.transforms import highpass, resample
from conjoin.core.data import CorruptSampleError, KeyedDataset

UNIT = Statistics((0.0,) * 12, (1.0,) * 12)


def record(seed=0, rate=500.0, length=1000):
    return Record(signal(seed, length).astype(np.float32), rate, LEADS)


def one(found, preparation=None, **options):
    return RecordDataset(["first"], lambda _: found, preparation or Preparation(), UNIT, **options)


def test_the_order_of_the_steps():
    x = record(rate=400.0)
    gap = x.signal.copy()
    gap[2, 10:12] = np.nan
    shuffled = Record(gap[::-1], 400.0, tuple(name.lower() for name in LEADS[::-1]))
    statistics = Statistics(tuple(np.linspace(-1, 1, 12)), tuple(np.linspace(0.05, 2, 12)))
    data = RecordDataset(["a"], lambda _: shuffled, Preparation(highpass=0.5), statistics)
    mended = x.signal.copy()
    mended[2, 10:12] = np.interp([10, 11], [9, 12], mended[2, [9, 12]])
    expected = highpass(resample(mended, 400, 500), 500, 0.5)
    expected = ((expected - np.array(statistics.mean)[:, None]) / np.array(statistics.std)[:, None]).clip(
        -5, 5
    )
    assert data[0]["x"].shape == (12, 1250)
    np.testing.assert_allclose(data[0]["x"], expected, atol=1e-5)
    assert np.abs(expected).max() == 5


def test_another_sampling_rate_is_brought_to_the_target():
    tone = np.sin(2 * np.pi * 5 * np.arange(2000) / 1000)
    fast = Record(np.tile(tone, (12, 1)).astype(np.float32), 1000.0, LEADS)
    slow = one(fast, Preparation(rate=100.0))[0]["x"]
    np.testing.assert_allclose(slow[0], np.sin(2 * np.pi * 5 * np.arange(200) / 100), atol=1e-3)


def spoilt(kind):
    x = record().signal.copy()
    leads = LEADS
    if kind == "missing lead":
        x, leads = np.delete(x, 7, axis=0), tuple(name for name in LEADS if name != "V2")
    elif kind == "nan lead":
        x[8] = np.nan
    elif kind == "zero":
        x[:] = 0
    elif kind == "rate":
        return Record(x, 0.0, leads)
    return Record(x, 500.0, leads)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing lead", r"first: lead V2 is missing among I, II"),
        ("nan lead", r"first: lead V3 has no finite value"),
        ("zero", r"first: all leads are zero throughout"),
        ("rate", r"first: sampling rates must be positive, not 0"),
    ],
)
def test_bad_recordings_are_one_sentence(kind, message):
    with pytest.raises(CorruptSampleError, match=message):
        one(spoilt(kind))[0]


def test_a_flat_lead_alone_is_kept():
    x = record().signal.copy()
    x[4] = 0
    assert (one(Record(x, 500.0, LEADS))[0]["x"][4] == 0).all()


def test_bad_recordings_are_skipped_and_counted():
    found = [spoilt("zero"), record(1), spoilt("nan lead")]
    data = KeyedDataset(RecordDataset(["a", "b", "c"], found.__getitem__, Preparation(), UNIT))
    with pytest.warns(UserWarning, match=r"Skipped an unreadable sample .* a: all leads are zero"):
        assert data[0]["index"] == 1
    limited = KeyedDataset(
        RecordDataset(["a", "b", "c"], found.__getitem__, Preparation(), UNIT), max_corrupt=0
    )
    with pytest.warns(UserWarning, match="nan|no finite"), pytest.raises(RuntimeError, match="max_corrupt=0"):
        limited[2]


def test_recordings_shorter_than_the_window_are_named():
    with pytest.raises(CorruptSampleError, match="1000 samples at 500 Hz are fewer than the window of 1001"):
        one(record(), window=1001)[0]
    assert one(record(), window=1000)[0]["x"].shape == (12, 1000)


def test_labels():
    labels = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    data = RecordDataset(["a", "b", "c"], lambda index: record(index), Preparation(), UNIT, labels=labels)
    assert [data[index]["label"] for index in range(3)] == [1, -1, -1]
    assert torch.equal(data[1]["labels"], torch.tensor([1.0, 1.0, 0.0]))
    assert "labels" not in one(record())[0]


def test_cache_reads_once_and_is_the_same_at_each_access(tmp_path):
    reads = []

    def read(index):
        reads.append(index)
        return record(index)

    def make(**options):
        return RecordDataset(["a", "b"], read, Preparation(**options), UNIT, cache=tmp_path)

    first = make()[1]["x"]
    assert torch.equal(make()[1]["x"], first)
    assert reads == [1]
    np.testing.assert_allclose(first.float(), one(record(1))[0]["x"], atol=2e-3)
    assert first.dtype == make()[1]["x"].dtype == torch.float16
    assert not torch.equal(make(highpass=0.5)[1]["x"], first)
    assert reads == [1, 1]
    assert not list(tmp_path.rglob("*.part"))


def test_measured_statistics():
    found = [record(seed, length=500 + 100 * seed) for seed in range(4)] + [spoilt("zero")]
    statistics = measure(list("abcde"), found.__getitem__, Preparation())
    whole = np.concatenate([r.signal for r in found[:4]], axis=1).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, whole.mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(statistics.std, whole.std(axis=1), rtol=1e-6)


def test_statistics_that_cannot_be_measured():
    with pytest.raises(ValueError, match="None of 1 recordings can be read, a among them"):
        measure(["a"], lambda _: spoilt("zero"), Preparation())
    flat = record()
    flat.signal[5] = 0
    with pytest.raises(ValueError, match="Lead AVF is constant in all recordings"):
        measure(["a"], lambda _: flat, Preparation())
    with pytest.raises(ValueError, match="statistics for 2 leads, but 12 leads"):
        RecordDataset(["a"], lambda _: flat, Preparation(), Statistics((0.0, 0.0), (1.0, 1.0)))

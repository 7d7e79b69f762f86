# SPDX-License-Identifier: Apache-2.0
import pickle
import sys

import numpy as np
import pytest
from writing import signal, write_record

from conjoin.biosignal.data import LEADS, read_header, read_record
from conjoin.biosignal.data.wfdb_record import RecordFiles
from conjoin.core.data import CorruptSampleError


def test_a_record_comes_back_in_millivolts_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wfdb", None)
    x = signal(0)
    write_record(tmp_path / "a", x)
    for path in (tmp_path / "a", str(tmp_path / "a.hea")):
        record = read_record(path)
        np.testing.assert_allclose(record.signal, x, atol=1e-3)
        assert (record.rate, record.leads, record.signal.dtype) == (500, LEADS, np.float32)


@pytest.mark.parametrize(
    ("gain", "baseline", "form"), [(200.0, 10, "16"), (1000.0, -3, "16+24"), (4880.0, 0, "16x1+24")]
)
def test_gain_baseline_and_offset(tmp_path, gain, baseline, form):
    x = signal(1)
    write_record(tmp_path / "a", x, 257, gain=gain, baseline=baseline, form=form)
    record = read_record(tmp_path / "a")
    np.testing.assert_allclose(record.signal, x, atol=1 / gain)
    assert record.rate == 257


def test_agrees_with_the_library(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    write_record(tmp_path / "a", signal(2), gain=500.0, baseline=7, comments=["Dx: 1"])
    theirs = wfdb.rdrecord(str(tmp_path / "a"))
    ours = read_record(tmp_path / "a")
    np.testing.assert_allclose(ours.signal, theirs.p_signal.T, atol=1e-6)
    assert list(ours.leads) == theirs.sig_name


@pytest.mark.parametrize("form", ["80", "212", "32"])
def test_other_formats_are_left_to_the_library(tmp_path, form):
    wfdb = pytest.importorskip("wfdb")
    x = np.round(signal(3, 200, 2) * 20).clip(-100, 100) / 20
    wfdb.wrsamp(
        "a", 250, ["mV", "uV"], ["I", "II"], p_signal=x.T, fmt=[form] * 2, adc_gain=[20, 20], baseline=[0, 0],
        write_dir=str(tmp_path),
    )  # fmt: skip
    record = read_record(tmp_path / "a")
    np.testing.assert_allclose(record.signal, x * np.array([[1], [1e-3]]), atol=1e-6)
    assert record.leads == ("I", "II")


def test_without_the_library_the_format_is_named(tmp_path, monkeypatch):
    write_record(tmp_path / "a", signal(0), form="212")
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(
        ImportError, match=r"not in WFDB format 16: install wfdb .*'conjoin-biosignal\[wfdb\]'"
    ):
        read_record(tmp_path / "a")


def test_missing_samples_are_nan(tmp_path):
    x = signal(0)
    x[3, 5:9] = np.nan
    write_record(tmp_path / "a", x)
    assert np.array_equal(np.isnan(read_record(tmp_path / "a").signal), np.isnan(x))


def test_header_fields(tmp_path):
    write_record(tmp_path / "a", signal(0, 2500), comments=["Dx: 426783006,1", "Age: 60"])
    header = read_header(tmp_path / "a")
    assert (header.length, header.seconds) == (2500, 5.0)
    assert header.comments == ("Dx: 426783006,1", "Age: 60")
    (tmp_path / "b.hea").write_text("b 1 360/100(2) \nb.dat 16 0 12 1024\n")
    header = read_header(tmp_path / "b")
    assert (header.rate, header.length, header.seconds) == (360, None, None)
    assert (header.lines[0].gain, header.lines[0].baseline, header.lines[0].unit) == (200.0, 1024, "mv")


def test_length_from_the_file(tmp_path):
    write_record(tmp_path / "a", signal(0))
    text = (tmp_path / "a.hea").read_text().replace("a 12 500 1000", "a 12 500")
    (tmp_path / "a.hea").write_text(text)
    assert read_record(tmp_path / "a").signal.shape == (12, 1000)


def test_records_by_number_can_be_sent_to_worker_processes(tmp_path):
    for number in range(2):
        write_record(tmp_path / f"r{number}", signal(number))
    files = pickle.loads(pickle.dumps(RecordFiles(tmp_path, ["r0", "r1"])))
    for number in range(2):
        np.testing.assert_allclose(files(number).signal, signal(number), atol=1e-3)


def test_header_without_data_file(tmp_path):
    write_record(tmp_path / "a", signal(0))
    (tmp_path / "a.dat").unlink()
    with pytest.raises(CorruptSampleError, match=r"a.hea names the data file a.dat, which cannot be read"):
        read_record(tmp_path / "a")


def test_data_file_cut_short(tmp_path):
    write_record(tmp_path / "a", signal(0))
    (tmp_path / "a.dat").write_bytes((tmp_path / "a.dat").read_bytes()[:-24])
    with pytest.raises(CorruptSampleError, match="has 999 samples per lead, but its header announces 1000"):
        read_record(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a WFDB header: it has no line with a name and a count"),
        ("nonsense", "not a WFDB header: it has no line with a name and a count"),
        ("a twelve 500 10\n", "not a WFDB header"),
        ("a 2 500 10\na.dat 16 200 16 0 0 0 0 I\n", "2 signals at 500 Hz announced, 1 described"),
        ("a 1 0 10\na.dat 16 200 16 0 0 0 0 I\n", "at 0 Hz announced"),
        ("a 1 500 10\na.dat sixteen 200\n", "signal line 'a.dat sixteen 200'"),
    ],
)
def test_bad_headers(tmp_path, text, message):
    (tmp_path / "a.hea").write_text(text)
    with pytest.raises(CorruptSampleError, match=message):
        read_header(tmp_path / "a")


def test_missing_header_and_foreign_unit(tmp_path):
    with pytest.raises(CorruptSampleError, match=r"a.hea cannot be read"):
        read_record(tmp_path / "a")
    write_record(tmp_path / "a", signal(0))
    text = (tmp_path / "a.hea").read_text().replace("/mV", "/mmHg", 1)
    (tmp_path / "a.hea").write_text(text)
    with pytest.raises(CorruptSampleError, match="lead I is in 'mmhg', not in volts"):
        read_record(tmp_path / "a")

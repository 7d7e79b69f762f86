# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import sound_files as writing

from conjoin.audio.data import FileDataset, read_wave
from conjoin.audio.data.files import require
from conjoin.core.data import CorruptSampleError


@pytest.mark.parametrize(
    ("name", "options"), [("a.wav", {}), ("a.flac", {}), ("a.wav", {"subtype": "FLOAT"})]
)
def test_formats(tmp_path, name, options):
    x = writing.tone(440)
    path = writing.write(tmp_path / name, x, **options)
    wave = read_wave(path, 16_000)
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave, x, atol=1e-4)


def test_compressed_speech(tmp_path):
    path = writing.write(tmp_path / "a.ogg", writing.tone(440, seconds=0.5))
    assert np.abs(read_wave(path, 16_000)[2000:6000] - writing.tone(440, seconds=0.5)[2000:6000]).max() < 0.05


def test_stereo_is_mixed_down(tmp_path):
    x = np.stack([writing.tone(440), writing.tone(880)], axis=1)
    np.testing.assert_allclose(
        read_wave(writing.write(tmp_path / "a.wav", x), 16_000), x.mean(axis=1), atol=1e-4
    )


def test_another_rate_is_resampled(tmp_path):
    path = writing.write(tmp_path / "a.wav", writing.tone(440, 44_100, 0.5), 44_100)
    wave = read_wave(path, 16_000)
    assert len(wave) == 8000
    np.testing.assert_allclose(wave[500:7500], writing.tone(440, seconds=0.5)[500:7500], atol=5e-3)


def test_what_is_no_sound_says_so(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not a sound")
    with pytest.raises(CorruptSampleError, match=r"text\.wav cannot be read as sound"):
        read_wave(text, 16_000)
    with pytest.raises(CorruptSampleError, match=r"absent\.wav cannot be read as sound"):
        read_wave(tmp_path / "absent.wav", 16_000)
    whole = writing.write(tmp_path / "whole.flac", writing.tone(440))
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[:50])
    with pytest.raises(CorruptSampleError, match=r"cut\.flac"):
        read_wave(cut, 16_000)
    empty = writing.write(tmp_path / "empty.wav", np.zeros(0))
    with pytest.raises(CorruptSampleError, match=r"empty\.wav holds no samples"):
        read_wave(empty, 16_000)
    bad = writing.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), subtype="FLOAT")
    with pytest.raises(CorruptSampleError, match=r"nan\.wav holds values that are not finite"):
        read_wave(bad, 16_000)
    with pytest.raises(FileNotFoundError, match=r"The table is not at .*gone: give the folder"):
        require(tmp_path / "gone", "The table")


def test_samples(tmp_path):
    for number, seconds in enumerate((0.05, 0.2, 0.01)):
        writing.write(tmp_path / f"{number}.wav", writing.tone(440, seconds=seconds))
    paths = ["0.wav", "1.wav", "2.wav"]
    several = np.array([[0, 1], [1, 1], [0, 0]], np.float32)
    dataset = FileDataset(tmp_path, paths, 16_000, 1600, 400, several)
    assert len(dataset) == 3
    assert (dataset[0]["length"], dataset[0]["label"]) == (800, 1)
    assert (dataset[1]["length"], dataset[1]["label"]) == (1600, -1)
    assert dataset[1]["x"].shape == (3200,)
    assert dataset[1]["labels"].tolist() == [1, 1]
    with pytest.raises(CorruptSampleError, match=r"2\.wav: 160 samples are fewer than the 400 of one frame"):
        dataset[2]
    assert FileDataset(tmp_path, paths, 16_000, 1600, labels=np.array([4, 5, 6]))[2]["label"] == 6
    assert "label" not in FileDataset(tmp_path, paths, 16_000, 1600)[0]

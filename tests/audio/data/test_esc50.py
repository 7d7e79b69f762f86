# SPDX-License-Identifier: Apache-2.0
import pytest
import sound_files

from conjoin.audio import ESC50, FrontEnd


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return sound_files.esc50(tmp_path_factory.mktemp("esc") / "ESC-50")


def folds(data, split):
    dataset = data.dataset(split)
    return sorted({int(path.decode().removeprefix("audio/")[0]) for path in dataset.paths})


def test_folds_classes_and_spectrograms(root):
    data = ESC50(root, fold=5, batch_size=3)
    assert data.class_names == ("dog", "rain", "vacuum_cleaner")
    assert (folds(data, "train"), folds(data, "val"), folds(data, "test")) == ([2, 3, 4], [1], [5])
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (3, 1, 512, 128)
    assert batch["label"].tolist() == [0, 1, 2]
    # The clips have 44.1 kHz: 0.1 s are 1,600 samples after resampling, 8 frames, and padding behind them.
    assert batch["length"].tolist() == [1600] * 3
    assert (batch["x"][0, 0, 8:] == batch["x"][0, 0, 8, 0]).all()
    assert batch["x"][0, 0, 7].std() > 0
    assert (data.front_end.mean, data.front_end.std) == (-6.6268077, 5.358466)


def test_without_validation_four_folds_train(root):
    data = ESC50(root, fold=2, validate=False)
    assert (folds(data, "train"), folds(data, "val"), folds(data, "test")) == ([1, 3, 4, 5], [2], [2])


def test_esc10(root):
    data = ESC50(root, only_esc10=True)
    assert data.class_names == ("dog", "rain")
    assert len(data.dataset("train")) == 6


def test_guards(root, tmp_path):
    with pytest.raises(ValueError, match="folds 1 to 5, not 6"):
        ESC50(root, fold=6)
    with pytest.raises(FileNotFoundError, match=r"The table of ESC-50 is not at .*esc50\.csv"):
        ESC50(tmp_path)
    with pytest.raises(ValueError, match=r"esc50\.csv has no column category: is it"):
        ESC50(sound_files.esc50(tmp_path / "a", without=["category"]))
    with pytest.raises(ValueError, match="no column esc10"):
        ESC50(sound_files.esc50(tmp_path / "b", without=["esc10"]), only_esc10=True)
    table = tmp_path / "c/meta/esc50.csv"
    table.parent.mkdir(parents=True)
    table.write_text("filename,fold,category\na.wav,3,dog\n")
    with pytest.raises(ValueError, match=r"No clip of .* is in fold \(1,\) \(test\)"):
        ESC50(tmp_path / "c").dataset("test")
    assert ESC50(root, front_end=FrontEnd(frames=256)).spectrogram.frames == 256

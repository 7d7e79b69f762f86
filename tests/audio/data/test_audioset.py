# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import sound_files

from conjoin.audio import AudioSet


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return sound_files.audioset(tmp_path_factory.mktemp("audioset"))


def test_lists_labels_and_spectrograms(root):
    data = AudioSet(root, batch_size=2)
    assert data.label_names == ("Speech", "Music", "Dog, barking")
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (2, 1, 1024, 128)
    assert batch["labels"].tolist() == [[1, 0, 1], [0, 1, 0]]
    assert batch["label"].tolist() == [-1, 1]


def test_a_share_of_the_training_list_validates(root):
    data = AudioSet(root, val_share=0.2)
    paths = {split: {path.decode() for path in data.dataset(split).paths} for split in ("train", "val")}
    assert (len(paths["train"]), len(paths["val"])) == (8, 2)
    assert not paths["train"] & paths["val"]
    again = AudioSet(root, val_share=0.2, seed=9).dataset("val")
    assert {path.decode() for path in again.paths} == paths["val"]
    assert len(AudioSet(root, val="eval.json").dataset("train")) == 10
    assert len(AudioSet(root, val="eval.json").dataset("val")) == 2


def test_an_unreadable_clip_is_skipped_and_named(tmp_path):
    root = sound_files.audioset(tmp_path)
    (root / "eval/0.flac").write_text("torn")
    data = AudioSet(root, batch_size=2, seconds=0.1)
    with pytest.warns(UserWarning, match=r"Skipped an unreadable sample .*0\.flac cannot be read as sound"):
        batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["labels"].tolist() == [[0, 1, 0], [0, 1, 0]]
    with pytest.raises(RuntimeError, match="More than max_corrupt=0 samples cannot be read"):
        next(iter(AudioSet(root, batch_size=2, max_corrupt=0).evaluation_dataloader("test")))


def test_guards(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="The table of labels is not at"):
        AudioSet(tmp_path)
    with pytest.raises(ValueError, match="val_share must lie between 0 and 1, not 0"):
        AudioSet(root, val_share=0)
    with pytest.raises(FileNotFoundError, match=r"The list of clips is not at .*other\.json"):
        AudioSet(root, train="other.json").dataset("train")
    table = tmp_path / "class_labels_indices.csv"
    table.write_text("index,display_name\n0,Speech\n")
    with pytest.raises(ValueError, match="has no column mid: is it"):
        AudioSet(tmp_path)
    table.write_text("index,mid,display_name\n0,/m/0,Speech\n2,/m/1,Music\n")
    with pytest.raises(ValueError, match="are not 0 to 1, each once"):
        AudioSet(tmp_path)
    table.write_text("index,mid,display_name\n0,/m/0,Speech\n")
    listed = tmp_path / "train.json"
    for text in ("{", "[]", '{"data": [{"wav": "a.wav"}]}'):
        listed.write_text(text)
        with pytest.raises(ValueError, match=r"train\.json is no list of clips: it must be JSON like"):
            AudioSet(tmp_path).dataset("train")
    listed.write_text('{"data": []}')
    with pytest.raises(ValueError, match="lists no clip"):
        AudioSet(tmp_path).dataset("train")
    listed.write_text(json.dumps({"data": [{"wav": "a.wav", "labels": "/m/0,/m/9"}]}))
    with pytest.raises(ValueError, match="1 labels that the table does not, '/m/9' among them"):
        AudioSet(tmp_path).dataset("train")

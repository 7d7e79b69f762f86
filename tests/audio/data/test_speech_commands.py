# SPDX-License-Identifier: Apache-2.0
import pytest
import sound_files

from conjoin.audio import SpeechCommands


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return sound_files.speech_commands(tmp_path_factory.mktemp("speech") / "v2")


def test_splits_follow_the_lists(root):
    data = SpeechCommands(root, batch_size=3)
    assert data.class_names == ("bird", "no", "yes")
    found = {
        split: [path.decode() for path in data.dataset(split).paths] for split in ("train", "val", "test")
    }
    assert found["val"] == [f"{word}/2abc_nohash_0.wav" for word in data.class_names]
    assert found["test"] == [f"{word}/3abc_nohash_0.wav" for word in data.class_names]
    assert len(found["train"]) == 6
    assert not any("noise" in path for paths in found.values() for path in paths)
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (3, 1, 128, 128)
    assert batch["label"].tolist() == [0, 1, 2]


def test_other_words_are_unknown(root):
    data = SpeechCommands(root, ["yes", "no"])
    assert data.class_names == ("yes", "no", "unknown")
    labels = {
        path.decode().split("/")[0]: int(label)
        for path, label in zip(data.dataset("test").paths, data.dataset("test").labels, strict=True)
    }
    assert labels == {"yes": 0, "no": 1, "bird": 2}
    assert SpeechCommands(root, ["yes", "no", "bird"]).num_classes == 3


def test_guards(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="The folder of Speech Commands is not at"):
        SpeechCommands(tmp_path / "gone")
    with pytest.raises(ValueError, match="has no folder of a word"):
        SpeechCommands(tmp_path)
    (tmp_path / "yes").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"The list of the val split is not at .*validation_list\.txt"
    ):
        SpeechCommands(tmp_path)
    for name in ("validation_list.txt", "testing_list.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="has no file of the train split"):
        SpeechCommands(tmp_path).dataset("train")
    with pytest.raises(ValueError, match=r"has no folder dog; its words are bird, no, yes"):
        SpeechCommands(root, ["yes", "dog"])

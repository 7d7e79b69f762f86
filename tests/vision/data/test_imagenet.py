# SPDX-License-Identifier: Apache-2.0
import pytest

from conjoin.vision.data import ImageNet

WNIDS = ("n01440764", "n01443537")


@pytest.fixture
def root(tmp_path, write_picture):
    for label, wnid in enumerate(WNIDS):
        for number in range(6):
            write_picture(tmp_path / f"train/{wnid}/{wnid}_{number}.JPEG", seed=label * 6 + number)
        write_picture(tmp_path / f"val/{wnid}/ILSVRC2012_val_0000000{label}.JPEG", seed=label)
    return tmp_path


def names(data, split):
    built = data.dataset(split)
    return [built.path(index).name for index in range(len(built))]


def test_official_layout(root):
    data = ImageNet(root, 16)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [10, 2, 2]
    assert not set(names(data, "train")) & set(names(data, "val"))
    assert all("ILSVRC2012_val" in name for name in names(data, "test"))
    assert data.class_names == WNIDS
    assert data.dataset("test")[1]["label"] == 1
    whole = ImageNet(root, 16, val_fraction=0)
    assert len(whole.dataset("train")) == 12
    assert names(whole, "val") == names(whole, "test")


def test_subset_file(root):
    chosen = ["n01443537_3.JPEG", "n01440764_1.JPEG"]
    (root / "subset.txt").write_text("\n".join(chosen) + "\n\n")
    data = ImageNet(root, 16, root / "subset.txt", val_fraction=0)
    assert names(data, "train") == sorted(chosen)
    assert data.dataset("train").labels.tolist() == [0, 1]
    assert data.dataset("train")[1]["x"].shape == (3, 40, 52)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat.jpg\n", r"line 1: 'cat.jpg' is not of the form n01440764_10026.JPEG"),
        ("n01440764_1.JPEG\nn99999999_1.JPEG\n", r"line 2: class n99999999 is not in .*train"),
        ("\n", "names no pictures"),
    ],
)
def test_bad_subset(root, text, message):
    (root / "subset.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        ImageNet(root, 16, root / "subset.txt")


def test_bad_folders(root, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match=r"The ImageNet folder .* does not exist"):
        ImageNet(root / "gone")
    with pytest.raises(FileNotFoundError, match=r"training folder .* does not exist"):
        ImageNet(root / "train")
    with pytest.raises(FileNotFoundError, match=r"subset file .* does not exist"):
        ImageNet(root, 16, root / "gone.txt")
    other = tmp_path_factory.mktemp("other")
    (other / "train/cats").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no folders named like n01440764"):
        ImageNet(other)
    (other / "train/n01440764").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no pictures in class folders"):
        ImageNet(other).dataset("train")
    with pytest.raises(FileNotFoundError, match=r"ImageNet's folder .*val does not exist"):
        ImageNet(other).dataset("test")

# SPDX-License-Identifier: Apache-2.0
"""Packed files in the released layout, and what is said of those that are not."""

import io
import pickle

import numpy as np
import pytest
import torch

from conjoin.core.data import CorruptSampleError
from conjoin.vision.data import HDF5Images
from conjoin.vision.data.hdf5_images import read_labels

h5py = pytest.importorskip("h5py")


@pytest.fixture
def pack(make_picture):
    def write(path, labels, images=None):
        """``images`` by number instead of smooth pictures: bytes."""
        with h5py.File(path, "w") as file:
            groups = file.create_group("images"), file.create_group("labels")
            for number, label in enumerate(labels):
                buffer = io.BytesIO()
                make_picture(number).save(buffer, "PNG")
                data = (images or {}).get(number, buffer.getvalue())
                groups[0].create_dataset(str(number), data=np.frombuffer(data, np.uint8))
                groups[1].create_dataset(str(number), data=label)
        return path

    return write


@pytest.fixture
def root(tmp_path, pack):
    pack(tmp_path / "imagenet-100-train.h5", [n // 6 for n in range(18)])
    pack(tmp_path / "imagenet-100-val.h5", [2, 0, 1])
    return tmp_path


def test_pictures_and_labels_of_the_three_splits(root, make_picture):
    data = HDF5Images(root, image_size=16, val_fraction=0.2, batch_size=4, scale=None)
    data.setup("fit")
    assert data.num_classes == 3
    sizes = {split: len(data.dataset(split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 15, "val": 3, "test": 3}
    train, val = data.dataset("train"), data.dataset("val")
    assert sorted([*train.numbers, *val.numbers]) == list(range(18))
    for dataset in (train, val):
        for index, number in enumerate(dataset.numbers):
            sample = dataset[index]
            assert sample["label"] == number // 6
            assert torch.equal(sample["x"].permute(1, 2, 0), torch.from_numpy(np.array(make_picture(number))))
    (batch,) = data.evaluation_dataloader("test")
    assert batch["label"].tolist() == [2, 0, 1]
    assert batch["x"].shape == (3, 3, 16, 16)
    whole = HDF5Images(root, image_size=16, val_fraction=0)
    assert len(whole.dataset("train")) == 18
    assert whole.dataset("val")[0]["label"] == 2


def test_each_process_opens_the_file_for_itself(root):
    data = HDF5Images(root, image_size=16, batch_size=5, num_workers=2, seed=1)
    plain = HDF5Images(root, image_size=16, batch_size=5, seed=1)
    assert data.dataset("train")[0]["x"].shape == (3, 40, 52)  # open in this process, before the fork
    for a, b in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(a["x"], b["x"])
        assert torch.equal(a["index"], b["index"])
    again = pickle.loads(pickle.dumps(data.dataset("train")))
    assert again._open is None
    assert torch.equal(again[3]["x"], data.dataset("train")[3]["x"])


def test_gray(root):
    data = HDF5Images(root, image_size=16, channels=1)
    (batch,) = data.evaluation_dataloader("test")
    assert batch["x"].shape == (3, 1, 16, 16)
    assert data.mean == pytest.approx((0.449,), abs=1e-3)


def test_damaged_pictures_are_skipped_and_named(root, pack):
    pack(root / "imagenet-100-val.h5", [0, 1, 2], {1: b"\xff\xd8\xff no picture", 2: b""})
    data = HDF5Images(root, image_size=16, patch_size=8)
    dataset = data.dataset("test")
    with pytest.raises(
        CorruptSampleError, match=r"imagenet-100-val.h5, picture 1, is not a whole picture \(14"
    ):
        dataset[1]
    with pytest.raises(CorruptSampleError, match=r"picture 2, is empty"):
        dataset[2]
    with pytest.warns(UserWarning, match="Skipped an unreadable sample"):
        (batch,) = data.evaluation_dataloader("test")
    assert batch["label"].tolist() == [0, 0, 0]
    with h5py.File(root / "imagenet-100-train.h5", "r+") as file:
        del file["images/0"]
        file["images"].create_dataset("70", data=np.zeros(3, np.uint8))
    with pytest.raises(CorruptSampleError, match=r"picture 0, cannot be read .*; pack the file anew"):
        HDF5Images(root, image_size=16, val_fraction=0).dataset("train")[0]


def test_files_that_do_not_belong_together(root, pack):
    pack(root / "imagenet-100-val.h5", [0, 3])
    data = HDF5Images(root, image_size=16)
    with pytest.raises(ValueError, match=r"val.h5 has the label 3, but those of .*train.h5 end at 2"):
        data.dataset("test")


def test_folders_and_names(root):
    with pytest.raises(FileNotFoundError, match=r"The folder of packed pictures .*none does not exist"):
        HDF5Images(root / "none")
    with pytest.raises(FileNotFoundError, match=r"There is no .*imagenet-train.h5: give the folder as root"):
        HDF5Images(root, "imagenet")
    with pytest.raises(ValueError, match="val_fraction must lie in"):
        HDF5Images(root, val_fraction=1.0).dataset("train")


def test_what_is_no_packed_file(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"a.h5 cannot be read as HDF5: "):
        read_labels(path)

    def written(**groups):
        with h5py.File(path, "w") as file:
            for group, members in groups.items():
                file.create_group(group)
                for name, value in members.items():
                    file[group][name] = value
        return path

    with pytest.raises(ValueError, match="has no group images and no group labels, only nothing"):
        read_labels(written())
    with h5py.File(path, "w") as file:
        file["images"] = file["labels"] = np.zeros(3)
    with pytest.raises(ValueError, match="has no group images and no group labels, only images, labels"):
        read_labels(path)
    with pytest.raises(ValueError, match="holds 2 pictures and 1 labels"):
        read_labels(written(images={"0": 1, "1": 1}, labels={"0": 0}))
    with pytest.raises(ValueError, match="holds 0 pictures and 0 labels"):
        read_labels(written(images={}, labels={}))
    with pytest.raises(ValueError, match="its 2 pictures are not numbered from 0 on"):
        read_labels(written(images={"a": 1, "b": 1}, labels={"0": 0, "1": 0}))
    with pytest.raises(ValueError, match="has no label for picture 0"):
        read_labels(written(images={"0": 1, "1": 1}, labels={"1": 0, "2": 0}))
    with pytest.raises(ValueError, match="picture 1 has the label -4"):
        read_labels(written(images={"0": 1, "1": 1}, labels={"0": 0, "1": -4}))
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        read_labels(written(images={"0": 1}, labels={"0": "cat"}))


def test_h5py_is_asked_for(root, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match="Pictures in HDF5 files need h5py: python -m pip install h5py"):
        HDF5Images(root).setup("fit")

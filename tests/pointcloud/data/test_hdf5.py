# SPDX-License-Identifier: Apache-2.0
import h5py
import numpy as np
import pytest

from conjoin.pointcloud import ModelNet40, ScanObjectNN
from conjoin.pointcloud.data.hdf5 import read_hdf5


def write(path, count, classes, seed=0, points=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file["data"] = rng.normal(size=(count, points, 3)).astype(np.float32)
        file["label"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
        file["faceId"] = np.zeros((count, points), np.int32)
    return path


@pytest.fixture
def modelnet(tmp_path):
    for number in range(2):
        write(tmp_path / f"ply_data_train{number}.h5", 12, 3, number)
    write(tmp_path / "ply_data_test0.h5", 6, 3, 9)
    (tmp_path / "shape_names.txt").write_text("airplane\nbathtub\nbed\n")
    return tmp_path


def test_modelnet(modelnet):
    data = ModelNet40(str(modelnet), 32, val_fraction=0.25, batch_size=4)
    assert data.class_names == ("airplane", "bathtub", "bed")
    assert [len(data.build(split)) for split in ("train", "val", "test")] == [18, 6, 6]
    part = data.build("test")
    with h5py.File(modelnet / "ply_data_test0.h5") as file:
        np.testing.assert_array_equal(part[4]["x"].numpy(), file["data"][4])
    assert [part[n]["label"] for n in range(4)] == [0, 1, 2, 0]
    batch = data.batch_transform(next(iter(data.train_dataloader())), train=True)
    assert batch["x"].shape == (4, 32, 3)


@pytest.mark.parametrize(
    ("variant", "folder", "stem"),
    [
        ("hardest", "main_split", "objectdataset_augmentedrot_scale75"),
        ("obj_bg", "main_split", "objectdataset"),
        ("obj_only", "main_split_nobg", "objectdataset"),
    ],
)
@pytest.mark.parametrize("inside", ["", "h5_files"])
def test_scanobjectnn(variant, folder, stem, inside, tmp_path):
    write(tmp_path / inside / folder / f"training_{stem}.h5", 30, 15)
    write(tmp_path / inside / folder / f"test_{stem}.h5", 15, 15, 1)
    data = ScanObjectNN(str(tmp_path), variant, 32, val_fraction=0.5)
    assert data.num_classes == 15
    assert data.class_names[0] == "bag"
    assert [len(data.build(split)) for split in ("train", "val", "test")] == [15, 15, 15]
    other = "obj_bg" if variant != "obj_bg" else "hardest"
    with pytest.raises(FileNotFoundError, match=rf"ScanObjectNN \({other}\) needs .*test_"):
        ScanObjectNN(str(tmp_path), other).build("test")


def test_refuses_broken_files(modelnet, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"no hdf5")
    with pytest.raises(ValueError, match=r"x\.h5 cannot be read as HDF5"):
        read_hdf5([path])
    with h5py.File(path, "w") as file:
        file["points"] = np.zeros((2, 4, 3))
    with pytest.raises(ValueError, match="has no data and no label, only points"):
        read_hdf5([path])
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.zeros((2, 4, 3)), np.zeros(3)
    with pytest.raises(
        ValueError, match=r"should hold data \(N, P, 3\) and N labels, not \(2, 4, 3\) and \(3,\)"
    ):
        read_hdf5([path])
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.zeros((0, 4, 3)), np.zeros(0)
    with pytest.raises(ValueError, match=r"x\.h5 holds no cloud"):
        read_hdf5([path])
    with pytest.raises(ValueError, match=r"different numbers of points: \[32, 64\]"):
        read_hdf5([modelnet / "ply_data_test0.h5", write(path, 2, 2, points=32)])


def test_refuses_what_does_not_fit(modelnet):
    with pytest.raises(ValueError, match="at most the 64 that the files have of each cloud, not 65"):
        ModelNet40(str(modelnet), 65).build("test")
    (modelnet / "shape_names.txt").write_text("airplane\nbathtub\n")
    with pytest.raises(ValueError, match="labels from 0 to 2, but there are 2 classes"):
        ModelNet40(str(modelnet), 32).build("test")
    (modelnet / "ply_data_test0.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"no ply_data_test\*\.h5"):
        ModelNet40(str(modelnet), 32).build("test")
    (modelnet / "shape_names.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs .*shape_names.txt"):
        ModelNet40(str(modelnet))
    with pytest.raises(ValueError, match=r"variant must be one of .*, not 'easy'"):
        ScanObjectNN(str(modelnet), "easy")

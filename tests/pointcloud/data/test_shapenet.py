# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from conjoin.core.data import CorruptSampleError
from conjoin.pointcloud import ShapeNet55

SYNSETS = ("02691156", "04379243", "03001627")


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "shapenet_pc").mkdir()
    lists = {"train": [], "test": []}
    for number in range(36):
        name = f"{SYNSETS[number % 3]}-{number:04x}.npy"
        np.save(tmp_path / "shapenet_pc" / name, rng.normal(size=(64, 3)).astype(np.float32))
        lists["test" if number >= 30 else "train"].append(name)
    lists["train_25"] = lists["train"][:9]
    for name, names in lists.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(names) + "\n")
    return tmp_path


def module(root, **options):
    return ShapeNet55(
        str(root), **{"points": 32, "stored": 64, "val_fraction": 0.2, "batch_size": 4, **options}
    )


def test_reads_lists_and_files(root):
    data = module(root)
    assert data.class_names == tuple(sorted(SYNSETS))
    assert [len(data.build(split)) for split in ("train", "val", "test")] == [24, 6, 6]
    part = data.build("test")
    assert part.files[0].name.startswith("02691156")
    assert [part[n]["label"] for n in range(3)] == [0, 2, 1]  # sorted synsets: plane, chair, table
    np.testing.assert_array_equal(part[2]["x"].numpy(), np.load(part.files[2]))
    batch = data.batch_transform(next(iter(data.train_dataloader())), train=True)
    assert batch["x"].shape == (4, 32, 3)
    train, val = ({path.name for path in data.build(split).files} for split in ("train", "val"))
    assert not train & val


def test_shorter_list(root):
    assert sum(len(module(root, train_list="train_25").build(split)) for split in ("train", "val")) == 9


def test_lists_in_their_own_folder(root):
    (root / "ShapeNet-55").mkdir()
    for path in root.glob("*.txt"):
        path.rename(root / "ShapeNet-55" / path.name)
    assert len(module(root).build("test")) == 6


def test_other_numbers_of_points_are_cut_or_filled(root):
    part = module(root).build("test")
    for count in (40, 100):
        cloud = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
        np.save(part.files[0], cloud)
        np.testing.assert_array_equal(part[0]["x"].numpy(), cloud[np.arange(64) % count])


def test_broken_files_are_named(root):
    part = module(root).build("test")
    part.files[0].write_bytes(b"no array")
    with pytest.raises(CorruptSampleError, match=f"{part.files[0].name} cannot be read"):
        part[0]
    part.files[0].write_bytes(b"")
    with pytest.raises(CorruptSampleError, match=f"{part.files[0].name} cannot be read"):
        part[0]
    np.save(part.files[0], np.zeros((0, 3)))
    with pytest.raises(CorruptSampleError, match="has 0 points, fewer than the 32"):
        part[0]
    np.save(part.files[0], np.zeros((20, 3)))
    with pytest.raises(CorruptSampleError, match="has 20 points, fewer than the 32"):
        part[0]
    np.save(part.files[0], np.array([{"a": 1}], dtype=object))
    with pytest.raises(CorruptSampleError, match="cannot be read"):
        part[0]
    part.files[1].unlink()
    with pytest.raises(CorruptSampleError, match="cannot be read"):
        part[1]


def test_refuses_other_folders(root):
    with pytest.raises(
        FileNotFoundError, match=r"needs train\.txt in .*nowhere, beside the folder shapenet_pc"
    ):
        module(root / "nowhere")
    with pytest.raises(ValueError, match=r"stored must be at least points \(32\), not 16"):
        module(root, stored=16)
    (root / "shapenet_pc").rename(root / "other")
    with pytest.raises(FileNotFoundError, match="named in the list of the test split, does not exist"):
        module(root).build("test")
    (root / "test.txt").write_text("chair.obj\n")
    with pytest.raises(ValueError, match=r"'chair.obj' in a list of ShapeNet55 is not of the form"):
        module(root)
    (root / "test.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"test\.txt is empty"):
        module(root)

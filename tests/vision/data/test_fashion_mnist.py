# SPDX-License-Identifier: Apache-2.0
import gzip
import struct

import numpy as np
import pytest

from conjoin.vision.data import FashionMNIST
from conjoin.vision.data.fashion_mnist import read_idx


def idx(array):
    return (
        struct.pack(">BBBB", 0, 0, 8, array.ndim)
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_official_files(root):
    data = FashionMNIST(root, 32, channels=3, batch_size=5)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [30, 10, 20]
    images = read_idx(root / "t10k-images-idx3-ubyte.gz")
    assert (data.dataset("test")[7]["x"][0].numpy() == images[7]).all()
    assert data.dataset("test")[7]["label"] == 7
    batch = next(iter(data.evaluation_dataloader("test")))
    assert batch["x"].shape == (5, 3, 32, 32)
    assert (batch["x"][:, 0] == batch["x"][:, 2]).all()


def test_the_folder_is_found(root, monkeypatch):
    root.rename(root.parent / "fashion-mnist")
    monkeypatch.setenv("CONJOIN_DATA", str(root.parent))
    assert len(FashionMNIST().dataset("test")) == 20


def test_bad_files(root):
    with pytest.raises(FileNotFoundError, match=r"The Fashion-MNIST folder .* does not exist"):
        FashionMNIST(root / "gone")
    path = root / "t10k-labels-idx1-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"has 19 bytes of data where its header says \(20,\)"):
        FashionMNIST(root).dataset("test")
    path.write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"is no idx file of bytes"):
        FashionMNIST(root).dataset("test")
    path.write_bytes(gzip.compress(whole)[:20])
    with pytest.raises(ValueError, match=r"is a damaged gzip file"):
        FashionMNIST(root).dataset("test")
    path.write_bytes(idx(np.zeros(19, np.uint8)))
    with pytest.raises(ValueError, match=r"t10k has pictures \(20, 28, 28\) for 19 labels"):
        FashionMNIST(root).dataset("test")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte.gz"):
        FashionMNIST(root)

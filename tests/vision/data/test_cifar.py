# SPDX-License-Identifier: Apache-2.0
import pickle

import numpy as np
import pytest
import torch

from conjoin.vision.data import CIFAR10, CIFAR100


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cifar10(folder, rng, count=20):
    """The binary version as documented by its authors: <1 x label><3072 x pixel>."""
    folder.mkdir(parents=True)
    written = {}
    for name in [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]:
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        with (folder / name).open("wb") as file:
            for label, row in zip(labels, pixels, strict=True):
                file.write(bytes([label]) + row.tobytes())
        written[name] = pixels, labels
    return written


def test_binary(tmp_path, rng):
    written = cifar10(tmp_path / "cifar-10-batches-bin", rng)
    data = CIFAR10(tmp_path)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [90, 10, 20]
    pixels, labels = written["test_batch.bin"]
    sample = data.dataset("test")[13]
    # Row by row within a channel; red first.
    assert sample["x"][0, 0, :5].tolist() == pixels[13, :5].tolist()
    assert sample["x"][2, 31].tolist() == pixels[13, -32:].tolist()
    assert sample["label"] == labels[13]
    assert torch.bincount(data.dataset("val").label).tolist() == [1] * 10
    assert data.class_names[3] == "cat"
    assert len(CIFAR10(tmp_path / "cifar-10-batches-bin").dataset("test")) == 20
    batch = next(iter(CIFAR10(tmp_path, 40, batch_size=6).evaluation_dataloader("test")))
    assert batch["x"].shape == (6, 3, 40, 40)


def test_binary_100(tmp_path, rng):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    records = rng.integers(0, 256, (200, 3074), dtype=np.uint8)
    records[:, 0] = 7
    records[:, 1] = np.arange(200) % 100
    for name in ("train.bin", "test.bin"):
        records.tofile(folder / name)
    (folder / "fine_label_names.txt").write_text("\n".join(f"name{n}" for n in range(100)) + "\n")
    data = CIFAR100(tmp_path)
    assert data.dataset("test")[105]["label"] == 5
    assert data.dataset("test")[105]["x"].flatten().tolist() == records[105, 2:].tolist()
    assert data.class_names[99] == "name99"
    assert data.num_classes == 100


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_python_version(tmp_path, rng, protocol):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
    for name in [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]:
        content = {b"data": pixels, b"labels": [n % 10 for n in range(20)], b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(content, protocol))
    data = CIFAR10(tmp_path)
    assert data.dataset("test")[4]["x"].flatten().tolist() == pixels[4].tolist()
    assert data.dataset("test")[4]["label"] == 4


class Evil:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_pickles_that_run_code_are_refused(tmp_path, capsys):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(ValueError, match=r"test is not a pickle of plain arrays \(it names builtins.print\)"):
        CIFAR100(tmp_path).dataset("test")
    assert "never run" not in capsys.readouterr().out
    (folder / "test").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match=r"is not a pickle of plain arrays"):
        CIFAR100(tmp_path).dataset("test")
    (folder / "test").write_bytes(pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}))
    with pytest.raises(ValueError, match=r"has no data and labels"):
        CIFAR100(tmp_path).dataset("test")
    (folder / "test").write_bytes(pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"fine_labels": [0, 1]}))
    with pytest.raises(ValueError, match=r"holds an array \(2, 9\) for 2 labels"):
        CIFAR100(tmp_path).dataset("test")


def test_bad_files(tmp_path, rng):
    with pytest.raises(FileNotFoundError, match=r"The CIFAR folder .* does not exist"):
        CIFAR10(tmp_path / "gone")
    with pytest.raises(
        FileNotFoundError, match=r"holds no files of cifar-10-batches-bin or cifar-10-batches-py"
    ):
        CIFAR10(tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    cifar10(folder, rng)
    whole = (folder / "data_batch_2.bin").read_bytes()
    (folder / "data_batch_2.bin").write_bytes(whole[:-1])
    with pytest.raises(
        ValueError, match=r"data_batch_2.bin has 61459 bytes, which is no multiple of the 3073"
    ):
        CIFAR10(tmp_path)
    (folder / "data_batch_2.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has 0 bytes"):
        CIFAR10(tmp_path)
    (folder / "data_batch_2.bin").write_bytes(bytes([10]) + whole[1:])
    with pytest.raises(ValueError, match=r"has the label 10, but there are 10 classes"):
        CIFAR10(tmp_path).dataset("train")
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_2.bin: unpack the whole archive"):
        CIFAR10(tmp_path)


def test_no_validation_without_a_share(tmp_path, rng):
    cifar10(tmp_path / "cifar-10-batches-bin", rng)
    with pytest.raises(ValueError, match=r"There is no validation split: set val_fraction above 0"):
        CIFAR10(tmp_path, val_fraction=0).dataset("val")

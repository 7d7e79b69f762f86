# SPDX-License-Identifier: Apache-2.0
import pickle

import h5py
import numpy as np
import pytest
import torch
from writing import write_code15

from conjoin.biosignal.data import CODE15, STATISTICS
from conjoin.biosignal.transforms import highpass, resample
from conjoin.core.data import CorruptSampleError

EXAMS = [  # exam, patient, file, padding, conditions
    (11, 1, "exams_part0.hdf5", 0, ("AF", "RBBB")),
    (12, 1, "exams_part0.hdf5", 648, ()),
    (13, 2, "exams_part0.hdf5", 0, ("SB",)),
    (14, 3, "exams_part1.hdf5", 0, ()),
]


@pytest.fixture
def root(tmp_path):
    write_code15(tmp_path, EXAMS)
    return tmp_path


def make(root, **options):
    return CODE15(root, **({"window": 5000, "val_fraction": 0, "test_fraction": 0} | options))


def test_padded_exams_are_left_out_and_labels_read(root):
    dataset = make(root).dataset("train")
    assert dataset.names == ["exams_part0.hdf5[0]", "exams_part0.hdf5[2]", "exams_part1.hdf5[0]"]
    assert dataset.labels.tolist() == [[0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0], [0] * 6]
    assert [dataset[index]["label"] for index in range(3)] == [-1, 3, -1]


def test_one_padded_lead_is_enough(root):
    with h5py.File(root / "exams_part1.hdf5", "r+") as file:
        file["tracings"][0, :20, 7] = 0
    assert len(make(root).dataset("train")) == 2


def test_tracings_are_filtered_resampled_and_scaled(root):
    x = make(root).dataset("train")[1]["x"]
    raw = np.random.default_rng(13).normal(0, 0.5, (4096, 12)).astype(np.float32).T
    expected = highpass(resample(raw, 400, 500), 500, 0.5) / np.array(STATISTICS["code-15"].std)[:, None]
    np.testing.assert_allclose(x, expected.clip(-5, 5), atol=1e-4)
    assert x.shape == (12, 5120)
    batch = next(iter(make(root, batch_size=2).train_dataloader()))
    assert batch["x"].shape == (2, 12, 5000)


def test_data_sets_can_be_sent_to_worker_processes(root):
    dataset = make(root).dataset("train")
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[2]["x"], dataset[2]["x"])


def test_absent_files_are_passed_over(root):
    (root / "exams_part0.hdf5").unlink()
    assert len(make(root).dataset("train")) == 1
    (root / "exams_part1.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match="names 2 HDF5 files, none of which is in"):
        make(root)


def test_guards(root):
    with pytest.raises(ValueError, match="has no val exams"):
        make(root).build("val")
    dataset = make(root).dataset("train")
    (root / "exams_part1.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(CorruptSampleError, match=r"exams_part1.hdf5, row 0"):
        dataset[2]
    with pytest.raises(ValueError, match=r"exams_part1.hdf5 is not an HDF5 file of CODE-15"):
        make(root)
    with h5py.File(root / "exams_part1.hdf5", "w") as file:
        file["exam_id"], file["tracings"] = np.array([14]), np.zeros((1, 4096, 8))
    with pytest.raises(ValueError, match=r"tracings have the shape \(1, 4096, 8\)"):
        make(root)
    (root / "exams.csv").write_text("id\n1\n")
    with pytest.raises(ValueError, match="no columns exam_id and trace_file"):
        make(root)
    with pytest.raises(FileNotFoundError, match="The table of exams is not at"):
        make(root / "none")

# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import pytest
import torch
from writing import signal, write_code15, write_csv, write_ptbxl, write_record

from conjoin.biosignal.data import ECGMixture, ECGSource, MixedDataset


class Numbers(torch.utils.data.Dataset):
    def __init__(self, start, count):
        self.start, self.count = start, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"x": self.start + index, "labels": None}


def test_shares_are_exact_and_every_recording_is_seen():
    data = MixedDataset([Numbers(0, 70), Numbers(1000, 40), Numbers(2000, 3)], [0.7, 0.2, 0.1])
    # The second source needs 40 / 0.2 = 200 positions for all its recordings.
    assert len(data) == 200
    found = [data[index] for index in range(len(data))]
    assert Counter(sample["source"] for sample in found) == {0: 140, 1: 40, 2: 20}
    seen = Counter(sample["x"] for sample in found)
    assert set(seen) == {*range(70), *range(1000, 1040), *range(2000, 2003)}
    assert {seen[number] for number in range(70)} == {2}
    assert sorted(seen[number] for number in range(2000, 2003)) == [6, 7, 7]


def test_mixed_guards():
    with pytest.raises(ValueError, match=r"must sum up to 1, not 0.9"):
        MixedDataset([Numbers(0, 2), Numbers(0, 2)], [0.7, 0.2])
    with pytest.raises(ValueError, match="Source 1 of the mixture is empty"):
        MixedDataset([Numbers(0, 2), Numbers(0, 0)], [0.5, 0.5])


def test_the_paper_weights_sum_to_one():
    from conjoin.core.cli.recipes import find

    sources = find("ecgjepa-vits-all").config["data"]["init_args"]["sources"]
    assert len(sources) == 10
    assert sum(source["weight"] for source in sources) == 1.0
    assert {source["name"] for source in sources if "highpass" in source} == {"code-15", "st-petersburg"}


@pytest.fixture
def sources(tmp_path):
    write_ptbxl(tmp_path / "ptbxl", [(1, {}, 1), (2, {}, 9), (3, {}, 10)])
    rows = []
    for number in range(4):
        write_record(tmp_path / f"mimic/r{number}", signal(number, 500), 100)
        rows.append({"path": f"r{number}"})
    write_csv(tmp_path / "mimic/record_list.csv", rows)
    for name in ("cpsc", "cpsc-extra"):
        for number in range(3):
            scale = 2.0 if name == "cpsc" else 1.0
            write_record(tmp_path / f"{name}/A{number}", scale * signal(number, 500), 100)
    write_code15(tmp_path / "code", [(exam, exam, "a.hdf5", 0, ()) for exam in range(3)])
    return [
        ECGSource("mimic-iv-ecg", str(tmp_path / "mimic"), 0.4),
        ECGSource("code-15", str(tmp_path / "code"), 0.2, highpass=0.5),
        ECGSource("ptb-xl", str(tmp_path / "ptbxl"), 0.1),
        ECGSource("cpsc", str(tmp_path / "cpsc"), 0.2),
        ECGSource("cpsc-extra", str(tmp_path / "cpsc-extra"), 0.1),
    ]


def test_all_readers_give_one_layout(sources):
    data = ECGMixture(sources, 400, 100.0, batch_size=16)
    dataset = data.dataset("train")
    shapes = {
        sample["source"]: tuple(sample["x"].shape) for sample in map(dataset.__getitem__, range(len(dataset)))
    }
    assert set(shapes) == set(range(5))
    assert {shape[0] for shape in shapes.values()} == {12}
    assert next(iter(data.train_dataloader()))["x"].shape == (16, 12, 400)
    assert data.module(sources[1]).preparation.highpass == 0.5
    assert data.module(sources[0]).preparation.highpass is None
    # Of PTB-XL folds 1 to 8 alone.
    assert len(data.module(sources[2]).dataset("train")) == 1


def test_sources_without_held_out_recordings_are_passed_over(sources):
    data = ECGMixture(sources, 400, 100.0, val_fraction=0.0)
    # PTB-XL alone has folds of its own: its weight of 0.1 becomes 1.
    for split in ("val", "test"):
        assert [sample["source"] for sample in map(data.dataset(split).__getitem__, range(1))] == [0]
        assert len(data.dataset(split)) == 1
    with pytest.raises(ValueError, match="No source of the mixture has val recordings"):
        ECGMixture([ECGSource("cpsc", sources[3].root, 1.0)], 400, 100.0, val_fraction=0.0).dataset("val")


def test_cpsc_extra_has_its_own_statistics_unless_asked(sources):
    right, released = (ECGMixture(sources, 400, 100.0, cpsc_extra_as_cpsc=flag) for flag in (False, True))
    cpsc = right.module(sources[3]).statistics
    assert right.module(sources[4]).statistics != cpsc
    assert released.module(sources[4]).statistics == cpsc
    alone = ECGMixture([ECGSource("cpsc-extra", sources[4].root, 1.0)], 400, 100.0, cpsc_extra_as_cpsc=True)
    with pytest.raises(ValueError, match="needs a source named cpsc"):
        alone.dataset("train")


def test_guards(sources):
    with pytest.raises(ValueError, match=r"sum up to 0.6, not 1"):
        ECGMixture(sources[:2], 400)
    with pytest.raises(ValueError, match=r"weight of ptb must lie in \(0, 1\], not 0"):
        ECGSource("ptb", "x", 0.0)
    with pytest.raises(ValueError, match="PTB-XL comes at 100 and at 500 Hz, not at 250"):
        ECGMixture([ECGSource("ptb-xl", "x", 1.0)], 400, 250.0).dataset("train")

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from writing import signal, write_csv, write_record

from conjoin.biosignal.data import STATISTICS, ChallengeECG, MimicECG, Statistics

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture
def challenge(tmp_path):
    codes = ["1,2", "1", "3,1", "2", "", "1"]
    for number, code in enumerate(codes):
        write_record(
            tmp_path / f"g{number % 2}" / f"E{number:04d}", signal(number, 600), 250, comments=[f"Dx: {code}"]
        )
    return tmp_path


def test_challenge_set_at_another_rate_with_labels(challenge):
    data = ChallengeECG(challenge, 500, 250.0, val_fraction=0, test_fraction=0, batch_size=2)
    assert data.label_names == ("1", "2", "3")
    dataset = data.dataset("train")
    assert dataset.names[0].endswith("g0/E0000.hea")
    assert [dataset[index]["labels"].tolist() for index in range(6)] == [
        [1, 1, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0],
    ]  # fmt: skip
    # Statistics are measured: together the recordings are standardised.
    whole = np.concatenate([dataset[index]["x"] for index in range(6)], axis=1)
    np.testing.assert_allclose(whole.mean(axis=1), 0, atol=0.05)
    np.testing.assert_allclose(whole.std(axis=1), 1, atol=0.1)
    assert next(iter(data.train_dataloader()))["x"].shape == (2, 12, 500)
    fast = ChallengeECG(challenge, 1000, 500.0, val_fraction=0, test_fraction=0)
    assert fast.dataset("train")[0]["x"].shape == (12, 1200)


def test_challenge_codes_may_be_given(challenge):
    data = ChallengeECG(challenge, 500, 250.0, codes=("3", "9"), val_fraction=0, test_fraction=0)
    assert data.dataset("train").labels.sum(axis=0).tolist() == [1, 0]
    few = ChallengeECG(challenge, 500, 250.0, most_common=1, val_fraction=0, test_fraction=0)
    assert few.label_names == ("1",)


def test_short_and_broken_records_are_left_out_with_a_word(challenge):
    write_record(challenge / "short", signal(9, 100), 250)
    (challenge / "broken.hea").write_text("nonsense")
    with pytest.warns(UserWarning, match="shorter than 2 s") as caught:
        data = ChallengeECG(challenge, 500, 250.0, val_fraction=0, test_fraction=0)
    said = " ".join(str(warning.message) for warning in caught)
    assert "1 headers cannot be read" in said
    assert "1 recordings in" in said
    assert "shorter than 2 s" in said
    assert len(data.dataset("train")) == 6


def test_challenge_guards(challenge, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no WFDB header \(\*.hea\)"):
        ChallengeECG(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="The folder of records is not at"):
        ChallengeECG(tmp_path / "none")
    with pytest.raises(ValueError, match="has no val recordings: raise val_fraction"):
        ChallengeECG(challenge, 500, 250.0, val_fraction=0, test_fraction=0).build("val")


@pytest.fixture
def mimic(tmp_path):
    rows = []
    for number in range(40):
        path = f"files/p{number // 2}/s{number}/{number}"
        write_record(tmp_path / path, signal(number, 600), 500, MIMIC_LEADS)
        rows.append({"subject_id": number // 2, "study_id": number, "path": path})
    write_csv(tmp_path / "record_list.csv", rows)
    return tmp_path


def test_mimic_leads_are_reordered_and_scaled(mimic):
    data = MimicECG(mimic, 500, val_fraction=0, test_fraction=0, batch_size=4)
    x = data.dataset("train")[3]["x"]
    raw, statistics = signal(3, 600), STATISTICS["mimic-iv-ecg"]
    for lead, place in (("AVL", 5), ("AVF", 4), ("V1", 6)):
        row = ["I", "II", "III", "AVR", "AVL", "AVF", "V1"].index(lead)
        expected = ((raw[place] - statistics.mean[row]) / statistics.std[row]).clip(-5, 5)
        np.testing.assert_allclose(x[row], expected, atol=1e-4)
    assert set(next(iter(data.train_dataloader()))) == {"x", "index", "epoch"}


def test_mimic_splits_keep_patients_together(mimic):
    data = MimicECG(mimic, 500, val_fraction=0.3, test_fraction=0.3)
    patients = {
        split: {name.split("/")[1] for name in data.dataset(split).names}
        for split in ("train", "val", "test")
    }
    assert sum(map(len, patients.values())) == 20
    assert set.union(*patients.values()) == {f"p{number}" for number in range(20)}


def test_statistics_may_be_given(mimic):
    data = MimicECG(
        mimic, 500, statistics=Statistics((1.0,) * 12, (2.0,) * 12), val_fraction=0, test_fraction=0
    )
    np.testing.assert_allclose(data.dataset("train")[0]["x"][0], (signal(0, 600)[0] - 1) / 2, atol=1e-5)


def test_mimic_guards(mimic):
    (mimic / "record_list.csv").write_text("study_id\n1\n")
    with pytest.raises(ValueError, match=r"no column path: is it MIMIC-IV-ECG's record_list.csv\?"):
        MimicECG(mimic)
    (mimic / "record_list.csv").unlink()
    with pytest.raises(FileNotFoundError, match="The list of recordings is not at"):
        MimicECG(mimic)

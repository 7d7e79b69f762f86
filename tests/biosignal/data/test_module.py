# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from conjoin.biosignal.data.module import held_out, require
from conjoin.biosignal.transforms import CenterCrop, RandomCrop


def test_patients_stay_together_and_shares_are_kept():
    groups = np.repeat(np.arange(2000), 3)
    parts = held_out(groups, {"val": 0.1, "test": 0.2})
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(6000))
    patients = {name: set(groups[part].tolist()) for name, part in parts.items()}
    assert not patients["val"] & patients["test"]
    assert not patients["train"] & (patients["val"] | patients["test"])
    assert len(parts["val"]) / 6000 == pytest.approx(0.1, abs=0.03)
    assert len(parts["test"]) / 6000 == pytest.approx(0.2, abs=0.03)
    again = held_out(groups, {"val": 0.1, "test": 0.2})
    assert all(np.array_equal(parts[name], again[name]) for name in parts)
    assert not np.array_equal(parts["val"], held_out(groups, {"val": 0.1, "test": 0.2}, seed=1)["val"])


def test_unknown_patients_are_each_their_own():
    parts = held_out(np.full(1000, -1), {"val": 0.3})
    assert 0.2 < len(parts["val"]) / 1000 < 0.4


@pytest.mark.parametrize("shares", [{"val": 0.6, "test": 0.4}, {"val": -0.1}])
def test_shares_out_of_range(shares):
    with pytest.raises(ValueError, match="Held-out shares must be at least 0"):
        held_out(np.arange(4), shares)


def test_missing_folder(tmp_path):
    assert require(tmp_path, "The table") == tmp_path
    with pytest.raises(FileNotFoundError, match=r"The table is not at .*none: give the folder"):
        require(tmp_path / "none", "The table")


def test_training_crops_at_random_and_evaluation_in_the_middle():
    from conjoin.biosignal import SimulatedECG

    data = SimulatedECG(window=300)
    assert isinstance(data.train_transform, RandomCrop)
    assert isinstance(data.eval_transform, CenterCrop)
    assert data.train_transform.size == data.eval_transform.size == data.window == 300


def test_draws_for_the_report():
    from conjoin.biosignal import RunMask, SimulatedECG
    from conjoin.core.report.gallery import SampleArtist

    data = SimulatedECG(window=400)
    assert isinstance(data, SampleArtist)
    sample = {"x": data.dataset("val")[0]["x"][:, :400]}
    masks = RunMask(min_block=6)((80,), torch.tensor([3]), 5)
    plain, masked = data.draw(sample, masks, (80,))
    assert plain.pixels.shape == masked.pixels.shape == (12 * 30, 800, 3)
    tinted = (masked.pixels != plain.pixels).any(axis=(0, 2))
    assert tinted.mean() == pytest.approx(masks.targets.shape[2] / 80, abs=0.01)
    assert "% that the context encoder sees" in masked.alt
    assert len(data.draw(sample, None, (80,))) == 1

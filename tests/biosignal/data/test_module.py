# SPDX-License-Identifier: Apache-2.0
import inspect

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from conjoin.biosignal import ECGJEPA, EEGTrials, RunMask, SimulatedECG
from conjoin.biosignal.data import LEADS, SignalModule
from conjoin.biosignal.data.module import SignalOptions, held_out, require
from conjoin.biosignal.transforms import RandomCrop
from conjoin.core.data import DataModule
from conjoin.core.methods import FineTune
from conjoin.core.report.gallery import SampleArtist


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


@pytest.mark.parametrize(
    ("how", "starts"), [("overlapping", range(10, 371, 60)), ("adjacent", (10, 130, 250, 370))]
)
def test_evaluation_sees_windows_all_over_a_recording(how, starts):
    data = SimulatedECG(window=120, eval_windows=how, batch_size=50, seed=0)
    assert isinstance(data.train_transform, RandomCrop)
    assert data.train_transform.size == data.eval_transform.size == 120
    batch = next(iter(data.evaluation_dataloader("val")))
    whole = torch.stack([data.dataset("val")[index]["x"] for index in range(50)])
    assert batch["look_counts"].tolist() == [len(starts)] * 50
    expected = torch.stack([whole[..., start : start + 120] for start in starts], dim=1)
    assert torch.equal(batch["looks"], expected.flatten(0, 1))
    assert torch.equal(batch["x"], whole[..., 190:310])


def test_one_window_or_the_middle_alone_is_a_plain_batch():
    for data in (SimulatedECG(window=400), SimulatedECG(window=120, eval_windows="middle")):
        batch = next(iter(data.evaluation_dataloader("val")))
        assert "looks" not in batch
        room = 500 - data.window
        assert torch.equal(batch["x"][0], data.dataset("val")[0]["x"][:, room // 2 : room // 2 + data.window])
    with pytest.raises(
        ValueError, match="eval_windows must be one of overlapping, adjacent, middle, not 'al"
    ):
        SimulatedECG(eval_windows="all")


def test_answers_and_features_are_averaged_over_the_windows_of_a_recording():
    system = ECGJEPA(length=100, patch=5, encoder_dim=8, encoder_depth=1, encoder_heads=2, seed=0)
    data = SimulatedECG(window=100, batch_size=6)
    batch = next(iter(data.evaluation_dataloader("val")))
    model = FineTune(
        system=system, task="multilabel", outputs=7, head="cross_attention", heads=2, seed=0
    ).eval()
    with torch.no_grad():
        outputs = model.step(batch).extras["outputs"]
        for row in range(6):
            x = data.dataset("val")[row]["x"]
            tokens = torch.cat(
                [model.encoder(x[None, :, start : start + 100]) for start in range(0, 401, 50)]
            )
            torch.testing.assert_close(outputs[row], model.head(tokens).mean(0))
            torch.testing.assert_close(model.embed(batch)[row], tokens.mean(dim=(0, 1)))


def test_defaults_of_shared_options_are_those_of_all_data_modules():
    """The command fills in what the base class says: other defaults here would be overruled by it."""
    mine, base = (inspect.signature(cls).parameters for cls in (SignalModule, DataModule))
    shared = set(SignalOptions.__annotations__) & set(base)
    assert len(shared) == 5
    assert all(mine[name].default == base[name].default for name in shared)


def test_options_that_all_share_are_arguments_of_the_command(capsys):
    parser = ArgumentParser()
    parser.add_subclass_arguments(SignalModule, "data")
    given = "--data PTBXL --data.root there --data.eval_windows adjacent --data.batch_size 5 --data.seed 3"
    found = parser.parse_args(given.split()).data
    assert found.class_path == "conjoin.biosignal.PTBXL"
    assert (found.init_args.eval_windows, found.init_args.batch_size, found.init_args.seed) == (
        "adjacent",
        5,
        3,
    )
    for wrong in ("--data.eval_windows=all", "--data.batch_size=few", "--data.bach_size=5"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--data", "SimulatedECG", wrong])
    capsys.readouterr()
    for name in ("CODE15", "PTBXL", "ChallengeECG", "ECGMixture", "EEGTrials", "MimicECG", "SimulatedECG"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--data.help=conjoin.biosignal.{name}"])
        shown = " ".join(capsys.readouterr().out.split())
        for option in ("eval_windows", "batch_size", "num_workers", "eval_batch_size", "seed", "max_corrupt"):
            assert f"--data.{option} " in shown
        assert "Unreadable recordings that may be skipped" in shown


def test_draws_for_the_report():
    data = SimulatedECG(window=400)
    assert isinstance(data, SampleArtist)
    sample = {"x": data.dataset("val")[0]["x"][:, :400]}
    masks = RunMask(min_block=6)((80,), torch.tensor([3]), 5)
    plain, masked = data.draw(sample, masks, (80,))
    assert plain.pixels.shape == masked.pixels.shape == (12 * 30, 834, 3)  # AVR, AVL, AVF stand to the left
    assert plain.alt == "12 leads over time: I, II, III, AVR, AVL, AVF, V1, V2, V3, V4, V5, V6"
    tinted = (masked.pixels != plain.pixels)[:, 34:].any(axis=(0, 2))
    assert not (masked.pixels != plain.pixels)[:, :34].any()
    assert tinted.mean() == pytest.approx(masks.targets.shape[2] / 80, abs=0.01)
    assert "% that the context encoder sees" in masked.alt
    assert len(data.draw(sample, None, (80,))) == 1
    data.lead_names = None
    assert data.draw(sample, None, (80,))[0].pixels.shape == (12 * 30, 800, 3)


def test_channels_have_their_names():
    assert SimulatedECG().lead_names == LEADS
    assert EEGTrials().lead_names[0] == "A1-Cz"
    assert len(EEGTrials("finger_movements").lead_names) == 28

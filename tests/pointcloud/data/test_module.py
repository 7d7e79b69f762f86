# SPDX-License-Identifier: Apache-2.0
import warnings

import numpy as np
import pytest
import torch

from conjoin.core.data import CorruptSampleError
from conjoin.pointcloud.data.module import CloudArrays, PointCloudModule, checked_cloud, held_out


class Two(PointCloudModule):
    num_classes = 2

    def build(self, split):
        points = np.random.default_rng(0).normal(size=(12, 50, 6)) * 5 + 3
        return CloudArrays(points, np.arange(12) % 2, self.points, "two")


def batches(module, epoch=0):
    loader = module.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [module.batch_transform(batch, train=True) for batch in loader]


def test_training_batches_are_keyed_normalised_and_new_in_every_epoch():
    first = batches(Two(20, batch_size=4, seed=1))
    assert [b["x"].shape for b in first] == [(4, 20, 3)] * 3
    for batch in first:
        assert batch["x"].dtype == torch.float32
        torch.testing.assert_close(batch["x"].norm(dim=-1).amax(1), torch.ones(4))
        torch.testing.assert_close(batch["x"].mean(1), torch.zeros(4, 3), atol=1e-5, rtol=0)
        assert torch.equal(batch["label"], batch["index"] % 2)
    again = batches(Two(20, batch_size=4, seed=1))
    assert all(torch.equal(a["x"], b["x"]) for a, b in zip(first, again, strict=True))

    def by_index(found):
        return {int(i): x for b in found for i, x in zip(b["index"], b["x"], strict=True)}

    # Another batch size is another order of work, not other clouds.
    alone, other = (
        by_index(batches(Two(20, batch_size=1, seed=1))),
        by_index(batches(Two(20, batch_size=4, seed=1), epoch=1)),
    )
    for index, cloud in by_index(first).items():
        torch.testing.assert_close(alone[index], cloud)
        assert not torch.allclose(other[index], cloud)


def test_evaluation_is_fixed_whatever_the_seed():
    for split in ("train", "val", "test"):
        parts = [next(iter(Two(20, seed=seed).evaluation_dataloader(split)))["x"] for seed in (1, 2)]
        assert torch.equal(*parts)
        assert parts[0].shape == (12, 20, 3)


def test_baseline_on_raw_input_is_a_descriptor():
    module = Two(20)
    batch = next(iter(module.evaluation_dataloader("val")))
    assert module.raw_features(batch).shape == (12, 41)


def test_without_augmentation_training_differs_from_evaluation_by_points_alone():
    module = Two(50, scale=None, rotate=None, subsample="random", batch_size=12)
    trained = {int(i): x for b in batches(module) for i, x in zip(b["index"], b["x"], strict=True)}
    batch = next(iter(module.evaluation_dataloader("train")))
    for index, cloud in zip(batch["index"].tolist(), batch["x"], strict=True):
        torch.testing.assert_close(trained[index], cloud)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((9, 2)), r"shape \(9, 2\), not \(N, 3\)"),
        (np.array(3.0), r"shape \(\), not \(N, 3\)"),
        (np.zeros((0, 3)), "has 0 points, fewer than the 10"),
        (np.full((12, 3), "1.0"), "values of type <U3, not real numbers"),
        (np.random.rand(9, 3), "has 9 points, fewer than the 10"),
        (np.where(np.arange(33).reshape(11, 3) == 4, np.nan, 1.0), r"1 points that are not finite"),
        (np.where(np.arange(33).reshape(11, 3) > 29, np.inf, 1.0), r"1 points that are not finite"),
        (np.ones((12, 3)), "is one point 12 times"),
    ],
)
def test_unusable_clouds_are_named(points, message):
    with pytest.raises(CorruptSampleError, match=f"this cloud (has |holds )?{message}"):
        checked_cloud(points, 10, "this cloud")


def test_unusable_clouds_are_skipped_with_a_warning():
    class Broken(Two):
        def build(self, split):
            base = super().build(split)
            base.points[3, 0, 0] = np.nan
            return base

    with pytest.warns(UserWarning, match="Cloud 3 of two has 1 points that are not finite"):
        batch = next(iter(Broken(20).evaluation_dataloader("val")))
    assert 3 not in batch["index"].tolist()
    assert torch.isfinite(batch["x"]).all()


def test_duplicate_points_are_accepted():
    cloud = np.repeat(np.eye(3), 5, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked_cloud(cloud, 10, "x").shape == (15, 3)


def test_held_out_takes_a_share_of_every_class():
    labels = np.repeat([0, 1, 2], [50, 20, 1])
    train, val = held_out(labels, "train", 0.1), held_out(labels, "val", 0.1)
    assert sorted([*train, *val]) == list(range(71))
    assert np.bincount(labels[val], minlength=3).tolist() == [5, 2, 0]
    assert np.array_equal(val, held_out(labels, "val", 0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0}, "points must be at least 1, not 0"),
        ({"subsample": "grid"}, "subsample must be 'fps' or 'random', not 'grid'"),
        ({"scale": (0.0, 1.0)}, r"0 < low <= high, not \(0.0, 1.0\)"),
        ({"scale": (1.2, 0.8)}, "low <= high"),
        ({"rotate": "w"}, "rotate must be 'x', 'y', 'z' or None, not 'w'"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        Two(**options)


def test_refuses_to_hold_out_of_nothing():
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="No class of the 3 training clouds has two"):
            held_out(np.arange(3), split, 0.1)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_refuses_fractions(fraction):
    with pytest.raises(ValueError, match=f"val_fraction must lie between 0 and 1, not {fraction}"):
        held_out(np.arange(4), "val", fraction)


def test_refuses_labels_of_other_clouds():
    with pytest.raises(ValueError, match="two has 3 clouds but 2 labels"):
        CloudArrays(np.zeros((3, 5, 3)), np.zeros(2), 5, "two")

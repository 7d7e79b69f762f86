# SPDX-License-Identifier: Apache-2.0
import inspect

import pytest
import torch
from jsonargparse import ArgumentParser

from conjoin.core.data import DataModule
from conjoin.vision.data.arrays import ArrayDataset
from conjoin.vision.data.module import ImageModule, ImageOptions


class Constant(ImageModule):
    def build(self, split):
        return ArrayDataset(torch.full((6, 3, 20, 20), 51, dtype=torch.uint8), torch.arange(6))


def test_one_number_serves_all_channels_and_the_loaders_crop():
    data = Constant(16, 3, (0.2,), (0.5,), batch_size=3)
    assert data.mean == (0.2, 0.2, 0.2)
    raw = next(iter(data.train_dataloader()))
    assert raw["x"].dtype == torch.uint8
    assert raw["x"].shape == (3, 3, 16, 16)
    x = data.batch_transform(raw, train=True)["x"]
    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-6, rtol=0)
    assert Constant(16, 1, (0.2,), (0.5,)).batch_transform(raw, True)["x"].shape == (3, 1, 16, 16)


def test_defaults_of_shared_options_are_those_of_all_data_modules():
    """The command fills in what the base class says: other defaults here would be overruled by it."""
    mine, base = (inspect.signature(cls).parameters for cls in (ImageModule, DataModule))
    shared = set(ImageOptions.__annotations__) & set(base)
    assert len(shared) == 5
    assert all(mine[name].default == base[name].default for name in shared)


@pytest.mark.parametrize("name", ["HDF5Images", "ImageFolder", "ImageNet"])
def test_options_that_all_share_are_arguments_of_the_command(capsys, name):
    parser = ArgumentParser()
    parser.add_subclass_arguments(DataModule, "data")
    given = f"--data conjoin.vision.{name} --data.root x --data.scale [0.2,1] --data.flip 0.5"
    found = parser.parse_args(given.split()).data.init_args
    assert (found.scale, found.flip) == ((0.2, 1.0), 0.5)
    assert "color" not in found  # nobody asked: then it is the base class's
    with pytest.raises(SystemExit):
        parser.parse_args([*given.split(), "--data.flop=1"])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        parser.parse_args([f"--data.help=conjoin.vision.{name}"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"--data.{option} " in shown for option in ImageOptions.__annotations__)
    assert "Strength of the colour distortion in training" in shown


def test_short_side_lets_no_crop_enlarge():
    # 0.3 of the area at ratio 3:4 of a square of side s is sqrt(0.3 * 0.75) s wide.
    assert Constant(224, 3, (0.5,), (0.5,)).short_side == 473
    assert Constant(224, 3, (0.5,), (0.5,), scale=None).short_side == 256


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((16, 2, (0.5,), (0.5,)), {}, "channels must be 1"),
        (
            (30, 3, (0.5,), (0.5,)),
            {"patch_size": 8},
            "image_size 30 is not a multiple of patch_size 8: choose 24 or 32",
        ),
        ((4, 3, (0.5,), (0.5,)), {"patch_size": 8}, "choose 8 or 16"),
        ((16, 3, (0.5, 0.5), (0.5,)), {}, r"mean has 2 numbers for 3 channel\(s\)"),
        ((16, 1, (0.5,), (0.5, 0.5, 0.5)), {}, r"std has 3 numbers for 1 channel\(s\)"),
        ((16, 1, (0.5,), (0.0,)), {}, "std must be positive"),
        ((16, 1, (0.5,), (0.5,)), {"color": 0.5}, "color distorts RGB"),
        ((16, 1, (0.5,), (0.5,)), {"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Constant(*arguments, **options)

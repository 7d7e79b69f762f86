# SPDX-License-Identifier: Apache-2.0
"""Where ``embed`` and ``probe`` take checkpoint and data from."""

import pytest

from conjoin.core.cli.errors import UserError
from conjoin.core.cli.source import parse, parser


def test_the_newest_run_and_its_own_data(run):
    given, path, model, data = parse(parser("embed", "about"), [])
    assert path.resolve() == (run / "checkpoints" / "last.ckpt").resolve()
    assert type(model).__name__ == "ToySystem"
    assert not model.training
    assert data.size == 16
    assert given.device == "cpu"


@pytest.mark.parametrize("form", [["--data", "toy-small.yaml"], ["--data=toy-small.yaml"]])
def test_the_data_of_a_configuration_with_a_change(run, form):
    *_, data = parse(parser("embed", "about"), [*form, "--data.size", "8"])
    assert (type(data).__name__, data.size) == ("ToyData", 8)


def test_a_checkpoint_outside_of_a_run_needs_data(run, folder):
    lonely = folder / "lonely.ckpt"
    lonely.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(UserError, match="say which data with --data"):
        parse(parser("embed", "about"), ["--checkpoint", str(lonely)])
    *_, data = parse(parser("embed", "about"), ["--checkpoint", str(lonely), "--data", "conjoin_toy.ToyData"])
    assert data.size == 16


def test_a_wrong_class_is_one_sentence(run):
    with pytest.raises(UserError) as info:
        parse(parser("embed", "about"), ["--data", "NoSuchData"])
    assert "NoSuchData" in str(info.value)
    assert "\n" not in str(info.value)


def test_no_run_at_all(folder):
    with pytest.raises(UserError, match="run `conjoin fit` first"):
        parse(parser("embed", "about"), [])

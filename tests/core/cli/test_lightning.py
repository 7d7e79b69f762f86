# SPDX-License-Identifier: Apache-2.0
import csv
import hashlib

import pytest
import torch
import yaml


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def run(folder, conjoin):
    code, _, err = conjoin("fit", "--config", "toy-small.yaml")
    assert code == 0, err
    return folder / "runs" / "toy-small" / "version_0"


def test_fit_writes_a_run_folder(run):
    assert (run / "checkpoints" / "last.ckpt").is_file()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["dim"] == 5
    assert config["seed_everything"] == 0
    assert [row["step"] for row in rows(run) if row["train/loss"]] == ["0", "1", "2", "3"]


def test_a_second_fit_is_a_second_version(run, conjoin):
    assert conjoin("fit", "--config", "toy-small.yaml")[0] == 0
    assert (run.parent / "version_1" / "metrics.csv").is_file()


def test_resume_goes_on_in_the_same_folder(run, conjoin):
    before = rows(run)
    with (run / "metrics.csv").open("a") as file:
        file.write("0,1e-3,0.1,17")  # torn by a kill, and later than the checkpoint
    code, _, err = conjoin("fit", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert code == 0, err
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    after = rows(run)
    assert after[: len(before)] == before
    assert [row["step"] for row in after if row["train/loss"]] == [str(step) for step in range(8)]
    assert torch.load(run / "checkpoints" / "last.ckpt")["global_step"] == 8


def test_test_needs_nothing_and_leaves_the_run_alone(run, folder, conjoin):
    before = files(folder)
    code, out, err = conjoin("test")
    assert code == 0, err
    assert "test/loss" in out
    after = files(folder)
    assert set(after) == set(before)
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {"runs/toy-small/version_0/metrics.csv"}
    assert any(row.get("test/loss") for row in rows(run))


def test_a_conflict_is_shown_and_refused(run, conjoin):
    code, _, err = conjoin("test", "--model.ratio.low", "0.5", "--model.dim", "6")
    assert code == 2
    assert "model.dim" in err
    assert "model.ratio.low" in err
    assert "0.25" in err
    assert "Traceback" not in err


def test_on_conflict_checkpoint_follows_the_checkpoint(run, conjoin):
    code, _, err = conjoin("test", "--model.dim", "6", "--on_conflict", "checkpoint")
    assert code == 0, err


def test_on_conflict_flags_builds_what_was_asked_for(run, conjoin):
    code, _, err = conjoin("test", "--model.ratio.low", "0.5", "--on_conflict", "flags")
    assert code == 0, err
    assert conjoin("test", "--model.dim", "6", "--on_conflict", "flags")[0] != 0  # the weights cannot fit


def test_equal_flags_are_no_conflict(run, conjoin):
    assert conjoin("test", "--model.dim", "5", "--model.ratio.sizes", "[1,2]")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit", "--config", "nowhere.yaml"), ("nowhere.yaml",)),
        (("fit", "--config", "toy-small.yaml", "--model", "ToySystm"), ("ToySystm", "ToySystem")),
        (("fit", "--config", "toy-small.yaml", "--model.dimm", "3"), ("dimm",)),
        (("fit", "--config", "toy-small.yaml", "--trainer.max_epochs", "many"), ("max_epochs",)),
        (("fit", "--config", "toy-small.yaml", "--data.batch_size", "0"), ("batch_size must be at least 1",)),
        (("test",), ("conjoin fit",)),
        (("test", "--ckpt_path", "no.ckpt"), ("no.ckpt",)),
    ],
)
def test_mistakes_are_one_sentence(folder, conjoin, arguments, words, monkeypatch):
    import conjoin_toy

    from conjoin.core import plugins

    monkeypatch.setattr(plugins, "load", lambda: (conjoin_toy,))
    code, _, err = conjoin(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert err.count("conjoin: error:") == 1
    for word in words:
        assert word in err


def test_debug_shows_the_traceback(folder, conjoin, monkeypatch):
    monkeypatch.setenv("CONJOIN_DEBUG", "1")
    code, _, err = conjoin("test", "--ckpt_path", "no.ckpt")
    assert code == 2
    assert "Traceback" in err


def test_output_folder_that_cannot_be_made(folder, conjoin):
    (folder / "plain").write_text("a file where a folder should be")
    code, _, err = conjoin("fit", "--config", "toy-small.yaml", "--trainer.default_root_dir", "plain")
    assert code == 2
    assert "plain" in err
    assert "Traceback" not in err


def test_full_disk_at_checkpoint_time_keeps_the_old_one(run, conjoin, monkeypatch):
    from conjoin.core import checkpoint_io

    last = run / "checkpoints" / "last.ckpt"
    before = last.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_io.torch, "save", full)
    code, _, err = conjoin("fit", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert code == 2
    assert "No space left on device" in err
    assert "untouched" in err
    assert last.read_bytes() == before
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


def test_a_generic_system_built_by_the_command_line_can_be_rebuilt(folder, conjoin):
    from conjoin.core.checkpoint import load_model

    path = folder / "toy-small.yaml"
    config = yaml.safe_load(path.read_text())
    encoder = {"class_path": "conjoin_toy.ToyTokens", "init_args": {"dim": 3}}
    config["model"] = {"class_path": "conjoin_toy.ToyGeneric", "init_args": {"encoder": encoder}}
    path.write_text(yaml.safe_dump(config))
    code, _, err = conjoin("fit", "--config", path)
    assert code == 0, err
    model = load_model(folder / "runs" / "toy-small" / "version_0" / "checkpoints" / "last.ckpt")
    assert model.encoder.embed_dim == 3
    assert conjoin("test")[0] == 0


def test_predict_sees_every_sample_once(run, conjoin):
    code, _, err = conjoin("predict")
    assert code == 0, err

# SPDX-License-Identifier: Apache-2.0
"""Files: nothing in them runs, a failure costs no older file, and saves come at optimiser steps."""

import errno

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from conjoin.core import checkpoint_io
from conjoin.core.checkpoint_io import AtomicCheckpointIO, CheckpointError, SaveLast, load


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_an_untrusted_pickle_is_refused_in_a_sentence(tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "x": Evil()}, path)
    with pytest.raises(CheckpointError, match="could run code when opened, so it was refused"):
        load(path)
    assert capsys.readouterr().out == ""
    load(path, trust=True)
    assert capsys.readouterr().out == "ran\n"


def test_damaged_files_have_a_sentence(tmp_path):
    good = tmp_path / "good.ckpt"
    torch.save({"a": torch.ones(1000)}, good)
    assert torch.equal(load(good)["a"], torch.ones(1000))
    cases = {
        "missing.ckpt": (None, "no checkpoint at"),
        "empty.ckpt": (b"", "is empty"),
        "short.ckpt": (good.read_bytes()[:2000], "is truncated"),
        "text.ckpt": (b"hello world, not a checkpoint", "not a checkpoint"),
    }
    for name, (content, words) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=words) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="holds a list"):
        load(tmp_path / "list.ckpt")


def test_a_real_file_size_limit_keeps_the_old_file(tmp_path):
    import resource
    import signal

    path = tmp_path / "x.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"a": torch.ones(3)}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"Cannot write .*File too large.*untouched"):
            io.save_checkpoint({"a": torch.ones(300_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [file.name for file in tmp_path.iterdir()] == ["x.ckpt"]
    assert torch.equal(io.load_checkpoint(path)["a"], torch.ones(3))


def test_a_read_only_folder(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoint_io.Path, "mkdir", refuse)
    with pytest.raises(CheckpointError, match="Permission denied; make room or choose another folder"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "new" / "x.ckpt")


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"a": 1}, path)

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    monkeypatch.setattr(checkpoint_io.os, "replace", kill)
    with pytest.raises(Killed):
        io.save_checkpoint({"a": 2}, path)
    assert io.load_checkpoint(path) == {"a": 1}


def test_the_plugin_reads_safely_by_default(tmp_path):
    torch.save({"x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="refused"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt")


def test_save_last_counts_optimiser_steps(tmp_path, monkeypatch):
    saved = []
    original = Trainer.save_checkpoint

    def spy(self, path, *args, **kwargs):
        saved.append((self.global_step, path.name))
        original(self, path, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", spy)
    callback = SaveLast(every_n_steps=2, keep_every_n_steps=3)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=[callback], max_epochs=2, limit_train_batches=4,
        limit_val_batches=0, accumulate_grad_batches=2,
    )  # fmt: skip
    trainer.fit(BoringModel())
    assert saved == [(2, "last.ckpt"), (3, "step=3.ckpt"), (4, "last.ckpt"), (4, "last.ckpt")]
    with pytest.raises(ValueError, match="every_n_steps=0"):
        SaveLast(every_n_steps=0)

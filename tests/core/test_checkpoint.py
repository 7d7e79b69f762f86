# SPDX-License-Identifier: Apache-2.0
import copy
import errno
import pickle
from dataclasses import dataclass

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from conjoin.core import checkpoint_io
from conjoin.core.checkpoint import (
    Checkpointed,
    CheckpointError,
    SelfDescribing,
    SpecError,
    build,
    describe,
    fresh,
    load,
    load_model,
    load_safetensors,
    record,
    save_safetensors,
    self_description,
)
from conjoin.core.checkpoint_io import AtomicCheckpointIO, SaveLast


@dataclass(frozen=True)
class Mask:
    scale: tuple[float, float] = (0.1, 0.2)
    count: int = 4


class Encoder(SelfDescribing, nn.Module):
    def __init__(self, dim: int = 3) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        return self.proj(x)


class Generic(Checkpointed):
    def __init__(self, encoder: nn.Module, *, mask: Mask = Mask(), seed: int | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.mask = mask
        self.seed = 7 if seed is None else seed

    @property
    def representation(self):
        return self.encoder

    def training_step(self, batch, batch_idx):
        return self.encoder(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class System(Generic):
    def __init__(self, dim: int = 3, names: list[str] | None = None, **kwargs) -> None:
        super().__init__(nn.Linear(dim, dim), **kwargs)
        self.names = names


HERE = System.__module__


@pytest.fixture
def importable(monkeypatch):
    """pytest's importlib mode leaves test modules out of sys.modules under some names."""
    import sys
    import types

    module = types.ModuleType(HERE)
    for cls in (Mask, Encoder, Generic, System):
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, HERE, module)
    package, _, rest = HERE.partition(".")
    if rest:
        monkeypatch.setitem(sys.modules, package, sys.modules.get(package, types.ModuleType(package)))


def train(model, tmp_path, **kwargs):
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, plugins=[AtomicCheckpointIO()],
        **{"max_steps": 3, "callbacks": [SaveLast(2)], **kwargs},
    )  # fmt: skip
    trainer.fit(model, DataLoader(torch.ones(8, 3), batch_size=2))
    return tmp_path / "checkpoints" / "last.ckpt"


def test_describes_the_most_derived_class_with_defaults_and_keywords():
    model = System(4, mask=Mask((0.3, 0.4)), names=["a"])
    assert describe(model) == {
        "class_path": f"{HERE}.System",
        "init_args": {
            "dim": 4,
            "names": ["a"],
            "mask": {"class_path": f"{HERE}.Mask", "init_args": {"scale": (0.3, 0.4), "count": 4}},
        },
    }


def test_a_change_after_construction_does_not_change_the_description():
    names = ["a"]
    model = System(names=names)
    names.append("b")
    assert describe(model)["init_args"]["names"] == ["a"]
    describe(model)["init_args"]["names"].append("c")
    assert describe(model)["init_args"]["names"] == ["a"]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_keep_the_description(again, importable):
    model = System(5)
    assert describe(again(model)) == describe(model)


def test_round_trip_through_json(importable):
    import json

    model = System(4, mask=Mask((0.3, 0.4)), seed=3)
    again = build(json.loads(json.dumps(describe(model))))
    assert describe(again) == describe(model)
    assert again.mask == model.mask  # the list has become a tuple again


def test_described_modules_inside_a_generic_base(importable):
    model = Generic(Encoder(2))
    assert describe(build(describe(model))) == describe(model)


def test_a_ready_module_cannot_be_rebuilt_and_says_so(importable, tmp_path):
    model = Generic(nn.Linear(3, 3))
    with pytest.raises(SpecError, match=r"'encoder': a ready torch\.nn\.modules\.linear\.Linear"):
        describe(model)
    path = train(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot rebuild its model alone.*encoder"):
        load_model(path)
    again = Generic.load_from_checkpoint(path, encoder=nn.Linear(3, 3), mask=Mask())
    assert torch.equal(again.encoder.weight, model.encoder.weight)


def test_record_replaces_the_description(importable):
    model = Generic(nn.Linear(3, 3))
    encoder = {"class_path": f"{HERE}.Encoder"}
    record(model, {"class_path": f"{HERE}.Generic", "init_args": {"encoder": encoder}})
    assert isinstance(build(describe(model)).encoder, Encoder)
    with pytest.raises(SpecError, match="not the class"):
        record(model, {"class_path": f"{HERE}.System", "init_args": {}})


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"class_path": "subprocess.Popen", "init_args": {"args": "true"}}, "not a class that describes"),
        ({"class_path": "antigravity.X"}, "not imported here"),
        ({"class_path": "conjoin.core.NoSuchThing"}, "no class conjoin.core.NoSuchThing"),
        ({"class_path": "conjoin.nowhere.X"}, "cannot be imported"),
        ({"class_path": "os.system", "init_args": {"command": "true"}}, "no class os.system"),
    ],
)
def test_build_refuses(spec, match):
    with pytest.raises(SpecError, match=match):
        build(spec)


def test_build_names_an_argument_that_is_gone(importable):
    with pytest.raises(SpecError, match=r"Mask does not take these arguments: .*widht"):
        build({"class_path": f"{HERE}.Mask", "init_args": {"widht": 1}})


def test_a_checkpoint_alone_is_enough(importable, tmp_path):
    model = System(3, mask=Mask(count=2))
    path = train(model, tmp_path)
    info = load(path)["conjoin"]
    assert info["init_args"]["dim"] == 3
    assert info["version"]
    state = torch.random.get_rng_state()
    for again in (load_model(path), System.load_from_checkpoint(path), Generic.load_from_checkpoint(path)):
        assert type(again) is System
        assert again.mask == Mask(count=2)
        assert torch.equal(again.encoder.weight, model.encoder.weight)
    assert not load_model(path).training
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(CheckpointError, match="is not a Other"):
        type("Other", (Checkpointed,), {}).load_from_checkpoint(path)


def test_the_runs_seed_is_recorded():
    class Seeded(Checkpointed):
        def __init__(self, seed: int | None = None) -> None:
            super().__init__()
            self.seed = 11 if seed is None else seed

    assert self_description(Seeded())["init_args"]["seed"] == 11


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
    with pytest.raises(CheckpointError, match="no description"):
        load_model(good)


def test_weights_that_do_not_fit(importable, tmp_path):
    path = train(System(3), tmp_path)
    content = torch.load(path)
    content["conjoin"]["init_args"]["dim"] = 4
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"do not fit System.*size mismatch"):
        load_model(path)


def test_fresh_is_a_function_of_the_seed(importable):
    model = System(3)
    state = torch.random.get_rng_state()
    one, again, other = fresh(model, seed=1), fresh(model, seed=1), fresh(model, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one.encoder.weight, again.encoder.weight)
    assert not torch.equal(one.encoder.weight, other.encoder.weight)
    assert not torch.equal(one.encoder.weight, model.encoder.weight)
    assert not one.training


def test_fresh_resets_ready_modules_or_says_which_it_cannot():
    model = Generic(nn.Linear(3, 3))
    before = model.encoder.weight.clone()
    new = fresh(model, seed=1)
    assert not torch.equal(new.encoder.weight, before)
    assert torch.equal(model.encoder.weight, before)
    model.extra = nn.Module()
    model.extra.weight = nn.Parameter(torch.ones(2))
    with pytest.raises(SpecError, match=r"reset_parameters\(\) in \['extra'\]"):
        fresh(model)


def test_safetensors_round_trip(importable, tmp_path):
    model = System(3)
    model.encoder.twin = model.encoder.weight  # shared memory
    path = tmp_path / "e.safetensors"
    del model.encoder.twin
    save_safetensors(model, path)
    encoder = load_safetensors(path)
    assert torch.equal(encoder.weight, model.encoder.weight)
    save_safetensors(model, path, part="model")
    assert torch.equal(load_safetensors(path).encoder.weight, model.encoder.weight)
    with pytest.raises(ValueError, match="no part 'decoder'"):
        save_safetensors(model, path, part="decoder")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_safetensors(path, into=nn.Linear(2, 2))
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load_safetensors(path)


def test_safetensors_clones_shared_tensors(tmp_path):
    model = Generic(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    model.encoder[1].weight = model.encoder[0].weight
    save_safetensors(model, tmp_path / "s.safetensors")
    target = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    load_safetensors(tmp_path / "s.safetensors", into=target)
    assert torch.equal(target[1].weight, model.encoder[0].weight)
    with pytest.raises(CheckpointError, match="into="):
        load_safetensors(tmp_path / "s.safetensors")


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
    train(System(3), tmp_path, max_steps=-1, max_epochs=2, accumulate_grad_batches=2, callbacks=[callback])
    assert saved == [(2, "last.ckpt"), (3, "step=3.ckpt"), (4, "last.ckpt"), (4, "last.ckpt")]
    with pytest.raises(ValueError, match="every_n_steps=0"):
        SaveLast(every_n_steps=0)

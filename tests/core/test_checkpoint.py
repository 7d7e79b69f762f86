# SPDX-License-Identifier: Apache-2.0
import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

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


def test_a_file_without_a_description_names_the_converter(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "plain.ckpt")
    with pytest.raises(CheckpointError, match=r"no description .*conjoin convert"):
        load_model(tmp_path / "plain.ckpt")

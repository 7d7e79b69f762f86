# SPDX-License-Identifier: Apache-2.0
"""State of objectives (queues, centres, memories, step counters) moves once per optimiser step.

Under accumulation and on two gloo ranks alike, and a resumed run goes on with it bit for bit.
"""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from conjoin.core.checkpoint_io import load
from conjoin.core.data import DataModule
from conjoin.core.methods import (
    Contrastive,
    Head,
    LocalRedundancyReduction,
    MaskedSelfDistillation,
    RedundancyReduction,
    SelfDistillation,
)
from conjoin.core.objectives import DINO, IBOT, WMSE, LeJEPA, SwAV, TiCo, VICRegL
from conjoin.core.optim import Optim
from conjoin.core.spec import SelfDescribing
from conjoin.core.transforms import Crop, Noise, ViewGroup, Views


class Rows(SelfDescribing, nn.Module):
    embed_dim = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(5, 6)

    def forward(self, x, keep=None):
        return self.linear(x.mean(1)).tanh().unsqueeze(1)


class Moments(SelfDescribing, nn.Module):
    """Each moment of a signal is a token."""

    embed_dim = 6
    grid = (5,)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear, self.last = nn.Linear(2, 6), nn.Linear(6, 6)

    def forward(self, x, keep=None, hide=None):
        tokens = self.linear(x.mT).tanh()
        tokens = tokens if hide is None else hide(tokens)
        return self.last(tokens + tokens.mean(1, keepdim=True)).tanh()


class Signals(DataModule):
    def build(self, split):
        return list(torch.randn(64, 2, 5, generator=torch.Generator().manual_seed(1)))


VIEWS = Views([ViewGroup(2, [Noise(0.2)])])
OPTIM = Optim(lr=0.05, start_lr=0.05, final_lr=0.01, weight_decay=0.0, final_weight_decay=None, name="sgd")


def system(name):
    plain = {"views": VIEWS, "optim": OPTIM, "seed": 0, "together": True}
    if name == "swav":
        return Contrastive(Rows(), SwAV(4, 7, queue_length=64, queue_start=1), Head(8, 4), **plain)
    if name == "dino":
        head = Head(8, 4, norm="none", prototypes=9)
        objective = DINO(9, final_teacher_temperature=0.07, warmup_steps=4)
        return SelfDistillation(Rows(), objective, head, ema=(0.9, 1.0), **plain)
    if name == "tico":
        return SelfDistillation(Rows(), TiCo(4), Head(8, 4), ema=(0.9, 1.0), **plain)
    if name == "ibot":
        head = Head(8, 4, norm="none", prototypes=9)
        return MaskedSelfDistillation(Moments(), IBOT(9), head, ema=(0.9, 1.0), **plain)
    if name == "vicregl":
        moved = plain | {"views": Views([ViewGroup(2, [Crop((0.5, 1.0)), Noise(0.2)])])}
        return LocalRedundancyReduction(Moments(), VICRegL(matches=(3, 2)), Head(8, 4), Head(8, 4), **moved)
    if name == "wmse":
        return RedundancyReduction(Rows(), WMSE(8, seed=0), Head(8, 3), **plain)
    return RedundancyReduction(Rows(), LeJEPA(slices=16, seed=0), Head(8, 4), **plain)


STATEFUL = ["swav", "dino", "ibot", "tico", "lejepa", "wmse"]
NAMES = [*STATEFUL, "vicregl"]


def fit(folder, name, *, batch_size=16, steps=6, ckpt=None, save=None, **options):
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=10, max_steps=6, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=[Stop(steps, save)], **options,
    )  # fmt: skip
    model = system(name)
    trainer.fit(model, Signals(batch_size=batch_size, seed=0), ckpt_path=ckpt)
    return model, trainer


class Stop(pl.callbacks.Checkpoint):
    """Save and end after some steps, as a run that is cut off does: schedules are laid over all six."""

    def __init__(self, steps, path):
        self.steps, self.path = steps, path

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        if trainer.global_step >= self.steps:
            trainer.should_stop = True
            if self.path is not None:
                trainer.save_checkpoint(self.path)


def state(model):
    return {name: value.clone() for name, value in model.objective.named_buffers()}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", STATEFUL)
def test_once_per_optimiser_step(tmp_path, name, accumulate):
    model, trainer = fit(tmp_path, name, accumulate_grad_batches=accumulate)
    assert trainer.global_step == 6
    assert model.objective.deferred
    assert int(model.objective.steps) == 6


def test_a_queue_takes_both_micro_batches(tmp_path):
    model, _ = fit(tmp_path, "swav", accumulate_grad_batches=2, steps=1)
    assert int(model.objective.queued) == 32


def test_a_centre_moves_by_the_mean_of_the_micro_batches(tmp_path):
    model, trainer = fit(tmp_path, "dino", accumulate_grad_batches=4, steps=1)
    assert trainer.global_step == 1
    whole, _ = fit(tmp_path, "dino", batch_size=64, steps=1)
    torch.testing.assert_close(model.objective.center, whole.objective.center)
    assert model.objective.center.any()


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_resume_is_bit_for_bit(tmp_path, name, accumulate):
    whole, _ = fit(tmp_path, name, save=tmp_path / "whole.ckpt", accumulate_grad_batches=accumulate)
    fit(tmp_path, name, steps=3, save=tmp_path / "half.ckpt", accumulate_grad_batches=accumulate)
    saved = load(tmp_path / "half.ckpt")["state_dict"]
    assert name not in STATEFUL or int(saved["objective.steps"]) == 3
    fit(
        tmp_path,
        name,
        ckpt=tmp_path / "half.ckpt",
        save=tmp_path / "end.ckpt",
        accumulate_grad_batches=accumulate,
    )
    first, second = (load(tmp_path / f"{end}.ckpt")["state_dict"] for end in ("whole", "end"))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    assert name not in STATEFUL or any(
        not torch.equal(value, saved[f"objective.{key}"]) for key, value in state(whole).items()
    )


def on_a_rank(rank, world, name, accumulate):
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model, trainer = fit(
            folder, name, batch_size=8, accumulate_grad_batches=accumulate, precision="64-true",
            strategy=DDPStrategy(process_group_backend="gloo"), devices=world, plugins=[Joined()],
        )  # fmt: skip
        return trainer.global_step, {k: v.clone() for k, v in model.state_dict().items()}


class Joined(LightningEnvironment):
    """The group is up already: the processes of the test pool are the ranks."""

    @property
    def creates_processes_externally(self):
        return True

    def world_size(self):
        return torch.distributed.get_world_size()

    def global_rank(self):
        return torch.distributed.get_rank()

    def local_rank(self):
        return torch.distributed.get_rank()

    def set_world_size(self, size):
        pass

    def set_global_rank(self, rank):
        pass


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_follow_one_process(tmp_path, ddp, name, accumulate):
    """Heads normalise over the batch of all ranks, so two ranks of 8 are one process of 16."""
    one, _ = fit(tmp_path, name, accumulate_grad_batches=accumulate, precision="64-true")
    expected = one.state_dict()
    for steps, found in ddp(on_a_rank, name, accumulate):
        assert steps == 6
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.allclose(ordered(key, found[key]), ordered(key, value), rtol=1e-7, atol=1e-9), key


def ordered(key, value):
    """The rows of a queue lie in the order of ranks and micro-batches, which does not matter to its use."""
    return value[:, value[0, :, 0].argsort()] if key.endswith("queue") else value

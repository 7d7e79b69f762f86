# SPDX-License-Identifier: Apache-2.0
import copy

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from conjoin.core.callbacks.ema import EMATeacher, copy_weights, update_average


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.linear(x))


class System(pl.LightningModule):
    def __init__(self, momentum=lambda i: 0.9, shared=False, frozen=True, optimise_all=False):
        super().__init__()
        self.encoder = Net()
        self.teacher = copy.deepcopy(self.encoder)
        if shared:
            self.teacher.linear.weight = self.encoder.linear.weight
        if frozen and not shared:
            self.teacher.requires_grad_(False)
        self.momentum, self.optimise_all = momentum, optimise_all
        self.history = []

    def training_step(self, batch, batch_idx):
        return self.encoder(batch[0]).square().mean() + self.encoder.linear.weight.sum()

    def on_before_zero_grad(self, optimizer):
        self.history.append(self.encoder.linear.weight.detach().clone())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters() if self.optimise_all else self.encoder.parameters(), 0.1)

    def configure_callbacks(self):
        return [EMATeacher(self.momentum)]


def fit(system, **options):
    torch.manual_seed(0)
    data = DataLoader(TensorDataset(torch.randn(24, 4)), batch_size=4)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip
    trainer.fit(system, data)
    return trainer


def test_formula_with_buffers():
    student, teacher = Net(), Net()
    student(torch.randn(8, 4))
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    update_average(student, teacher, 0.996)
    for name, p in student.named_parameters():
        expected = 0.996 * before[name].double() + (1 - 0.996) * p.detach().double()
        torch.testing.assert_close(
            teacher.get_parameter(name).detach().double(), expected, atol=1e-7, rtol=1e-6
        )
    assert torch.equal(teacher.norm.running_mean, student.norm.running_mean)
    assert teacher.norm.num_batches_tracked == 1
    update_average(student, teacher, 0.5, buffers="average")
    assert teacher.norm.num_batches_tracked == 1


def test_float_buffers_can_be_averaged():
    student, teacher = Net(), Net()
    student.norm.running_mean.fill_(1.0)
    update_average(student, teacher, 0.75, buffers="average")
    assert torch.equal(teacher.norm.running_mean, torch.full((3,), 0.25))


def test_buffers_can_be_the_teachers_own():
    student, teacher = Net(), Net()
    for module in (student, teacher):
        module(torch.randn(8, 4))
    own = {name: value.clone() for name, value in teacher.named_buffers()}
    average = 0.75 * teacher.linear.weight.detach() + 0.25 * student.linear.weight.detach()
    update_average(student, teacher, 0.75, buffers="keep")
    torch.testing.assert_close(teacher.linear.weight.detach(), average)
    assert all(torch.equal(own[name], value) for name, value in teacher.named_buffers())


def test_copy_weights():
    student, teacher = Net(), Net()
    copy_weights(student, teacher)
    assert all(torch.equal(v, teacher.state_dict()[k]) for k, v in student.state_dict().items())


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_one_update_per_optimiser_step_with_the_momentum_of_that_step(accumulate):
    calls = []

    def momentum(i):
        calls.append(i)
        return 0.5 + 0.1 * i

    torch.manual_seed(1)
    system = System(momentum)
    expected = system.encoder.linear.weight.detach().clone()
    fit(system, max_epochs=1, accumulate_grad_batches=accumulate)
    steps = 6 // accumulate
    assert calls == list(range(steps))
    # history[i] is the student before step i; the last student is the present one
    students = [*system.history[1:steps], system.encoder.linear.weight.detach()]
    for i, student in enumerate(students):
        expected = (0.5 + 0.1 * i) * expected + (0.5 - 0.1 * i) * student
    torch.testing.assert_close(system.teacher.linear.weight, expected, atol=1e-6, rtol=1e-6)


def test_max_steps_gives_every_step_its_own_momentum():
    calls = []
    fit(System(lambda i: calls.append(i) or 0.9), max_steps=9)
    assert calls == list(range(9))


def test_half_precision_averages_do_not_stall():
    student, teacher = nn.Linear(1, 1, bias=False).bfloat16(), nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.constant_(student.weight, 2.0)
    nn.init.constant_(teacher.weight, 1.0)
    master = None
    for _ in range(1000):
        master = update_average(student, teacher, 0.999, master=master)
    # in bfloat16 alone, 1 + 0.001 rounds back to 1 for ever
    assert teacher.weight.item() == pytest.approx(2 - 0.999**1000, abs=0.01)


def test_master_survives_state_dict():
    callback = EMATeacher(lambda i: 0.9)
    callback._master = [torch.ones(2)]
    other = EMATeacher(lambda i: 0.9)
    other.load_state_dict(callback.state_dict())
    assert torch.equal(other._master[0], torch.ones(2))


def test_refuses_shared_parameters():
    with pytest.raises(ValueError, match="shares parameters"):
        fit(System(shared=True), max_steps=1)


def test_refuses_trainable_teacher():
    with pytest.raises(ValueError, match="must be frozen"):
        fit(System(frozen=False), max_steps=1)


def test_refuses_teacher_in_the_optimiser():
    with pytest.raises(ValueError, match="in the optimiser"):
        fit(System(optimise_all=True), max_steps=1)


def test_refuses_unknown_buffer_rule():
    with pytest.raises(ValueError, match="buffers"):
        EMATeacher(lambda i: 0.9, buffers="sum")

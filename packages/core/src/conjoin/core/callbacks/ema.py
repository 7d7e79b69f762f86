# SPDX-License-Identifier: Apache-2.0
r"""The exponential-moving-average teacher.

After optimiser step :math:`i = 0, 1, \dots` every float parameter of the teacher becomes

.. math:: \bar\theta \leftarrow m_i \bar\theta + (1 - m_i)\, \theta .

The teacher is a submodule of the system: it is in the checkpoint, moves with the system, and is sharded
with it. The update happens once per *optimiser* step, found by a change of ``trainer.global_step``, so
gradient accumulation, ``max_steps`` and resume need no special care. The momentum is a function of the
step, not a counter.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from typing_extensions import override

__all__ = ("EMATeacher", "copy_weights", "update_average")

Buffers = Literal["copy", "average", "keep"]


class EMATeacher(Callback):
    """Moves a frozen teacher towards its student after every optimiser step.

    Methods bring this callback themselves (``configure_callbacks``); a user does not list it.

    Args:
        momentum: Step (from 0) to momentum in [0, 1].
        student: Attribute path of the student in the module.
        teacher: Attribute path of the teacher; same architecture, frozen, sharing no parameter.
        buffers: What happens to float buffers: ``"copy"`` them from the student, ``"average"`` them, or
            ``"keep"`` the teacher's own (of batch norms that it runs in training mode). Integer and boolean
            buffers are copied in the first two cases.
    """

    def __init__(
        self,
        momentum: Callable[[int], float],
        student: str = "encoder",
        teacher: str = "teacher",
        buffers: Buffers = "copy",
    ) -> None:
        if buffers not in get_args(Buffers):
            raise ValueError(f'buffers must be "copy", "average" or "keep", not {buffers!r}.')
        self.momentum = momentum
        self.student = student
        self.teacher = teacher
        self.buffers = buffers
        self._step = 0
        # Averages of half-precision parameters: (1 - m) * difference is below their resolution.
        self._master: list[Tensor] | None = None

    @property
    @override
    def state_key(self) -> str:
        return f"EMATeacher[{self.student}->{self.teacher}]"

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        student, teacher = self._pair(pl_module)
        _check_pair(student, teacher, self.student, self.teacher)
        optimised = {
            id(p)
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }
        if any(id(p) in optimised for p in teacher.parameters()):
            raise ValueError(
                f"Parameters of {self.teacher!r} are in the optimiser; a teacher is moved by its average "
                "alone. Leave frozen parameters out of configure_optimizers."
            )

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:
            return  # gradients are still accumulating
        self._step = trainer.global_step
        momentum = self.momentum(self._step - 1)
        student, teacher = self._pair(pl_module)
        self._master = update_average(student, teacher, momentum, buffers=self.buffers, master=self._master)
        pl_module.log("schedule/ema", momentum, on_step=True, on_epoch=False)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self._master is None else {"master": self._master}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._master = state_dict.get("master")

    def _pair(self, module: LightningModule) -> tuple[nn.Module, nn.Module]:
        return module.get_submodule(self.student), module.get_submodule(self.teacher)


def _check_pair(student: nn.Module, teacher: nn.Module, student_name: str, teacher_name: str) -> None:
    ours, theirs = dict(student.named_parameters()), dict(teacher.named_parameters())
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())[:3]
        raise ValueError(
            f"{student_name!r} and {teacher_name!r} differ in their parameters, for example {odd}."
        )
    shared = {id(p) for p in ours.values()} & {id(p) for p in theirs.values()}
    if shared:
        raise ValueError(
            f"{teacher_name!r} shares parameters with {student_name!r}: make it by copy.deepcopy, "
            "or every optimiser step moves the teacher too."
        )
    trainable = [name for name, p in theirs.items() if p.requires_grad]
    if trainable:
        raise ValueError(f"{teacher_name!r} must be frozen, but {trainable[0]!r} requires a gradient.")


def _local(tensor: Tensor) -> Tensor:
    """The shard that lives here: student and teacher are sharded alike, so shards average like wholes."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _pairs(student: nn.Module, teacher: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    ours = dict(student.named_parameters())
    names = [(name, p) for name, p in teacher.named_parameters() if p.is_floating_point()]
    return [_local(ours[name]) for name, _ in names], [_local(p) for _, p in names]


@torch.no_grad()
def update_average(
    student: nn.Module,
    teacher: nn.Module,
    momentum: float,
    *,
    buffers: Buffers = "copy",
    master: list[Tensor] | None = None,
) -> list[Tensor] | None:
    """Do ``teacher = momentum * teacher + (1 - momentum) * student``, in place and in float32 or wider.

    Args:
        student: Source.
        teacher: Destination, of the same architecture.
        momentum: In [0, 1].
        buffers: See :class:`EMATeacher`.
        master: float32 averages of a half-precision teacher, from the previous call.

    Returns:
        The float32 averages where the teacher's own precision is too low to hold them, else None.
    """
    source, target = _pairs(student, teacher)
    if any(t.dtype in (torch.bfloat16, torch.float16) for t in target):
        master = (
            [t.float() for t in target]
            if master is None
            else [m.to(t.device) for m, t in zip(master, target, strict=True)]
        )
        torch._foreach_lerp_(master, [s.float() for s in source], 1 - momentum)
        torch._foreach_copy_(target, master)
    elif target:
        torch._foreach_lerp_(target, source, 1 - momentum)
    if buffers == "keep":
        return master
    theirs = dict(teacher.named_buffers())
    for name, buffer in student.named_buffers():
        ours, other = _local(buffer), _local(theirs[name])
        if buffers == "average" and buffer.is_floating_point():
            other.lerp_(ours, 1 - momentum)
        else:
            other.copy_(ours)
    return master


@torch.no_grad()
def copy_weights(student: nn.Module, teacher: nn.Module) -> None:
    """Set the teacher to the student, as at the start of training."""
    update_average(student, teacher, 0.0)

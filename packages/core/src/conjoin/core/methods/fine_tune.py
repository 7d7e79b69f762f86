# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: any pre-trained encoder with a head on it, for classes, numbers or several labels.

It is a system like the others: its checkpoints rebuild it (they hold the description of the pre-trained
system, whose file is not needed again), it resumes bit for bit, and ``embed``, ``probe`` and ``report`` work
on it. Options cover what the papers do: layer-wise decay of the learning rate (BEiT), an encoder that stays
frozen for the first epochs (Point-JEPA), attention as a head (V-JEPA, ECG-JEPA), label smoothing, and answers
averaged over windows (ECG-JEPA) or over random renderings (Point-JEPA) in evaluation.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Literal, cast, get_args

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from conjoin.core import distributed, random
from conjoin.core.callbacks.ema import EMATeacher
from conjoin.core.checkpoint import load_model
from conjoin.core.data.looks import mean_of_looks, over_looks
from conjoin.core.evaluation.task import METRICS, Task, task_of
from conjoin.core.methods.answers import Answers, answers_of, loss_of
from conjoin.core.methods.joint_embedding import JointEmbedding, StepOutput
from conjoin.core.methods.layer_decay import layer_decay_groups
from conjoin.core.methods.task_head import HeadKind, TaskHead
from conjoin.core.methods.vote import VoteOn, vote
from conjoin.core.optim import Optim
from conjoin.core.spec import SpecError, describe

__all__ = ("FineTune", "pretrained_encoder")

Weights = Literal["ema", "student"]
_NO_DECAY = ("registers", "mask_token", "cls_token", "query")


def pretrained_encoder(system: JointEmbedding, weights: Weights = "ema") -> nn.Module:
    """The encoder of a system, with its teacher's weights where it keeps an average of them.

    Args:
        system: Its encoder is changed in place.
        weights: ``"ema"`` or ``"student"``.
    """
    encoder = system.encoder
    if weights == "student":
        return encoder.requires_grad_(True)
    brought = system.configure_callbacks()
    for callback in [brought] if isinstance(brought, Callback) else brought:
        if isinstance(callback, EMATeacher) and callback.student.split(".")[0] == "encoder":
            teacher = system.get_submodule(callback.teacher)
            system.get_submodule(callback.student).load_state_dict(teacher.state_dict())
            return encoder.requires_grad_(True)
    return system.representation.requires_grad_(True)


class FineTune(JointEmbedding):
    """Train a head, and after some epochs the encoder too, on labelled data.

    Logs ``train/loss``, ``val/loss`` and ``val/accuracy``, ``val/rmse`` (in original units) or
    ``val/macro_auc`` over the whole split; the same under ``test/``.

    Args:
        checkpoint: Of the pre-trained system. A checkpoint of the fine-tuned model does without that file.
        system: The pre-trained system itself, instead of a file.
        weights: ``"ema"``: the teacher's average where the system has one; ``"student"``.
        task: ``"classification"``, ``"regression"`` or ``"multilabel"``; what the data declare if not given.
        outputs: Classes or labels; the data's if not given.
        head: ``"linear"``, ``"mlp"``, ``"attentive"`` or ``"cross_attention"``, see
            :mod:`conjoin.core.methods.task_head`.
        heads: Attention heads of the last two.
        hidden: Width of the hidden layers of ``"mlp"``.
        dropout: Of ``"mlp"``.
        label_smoothing: Share of each label that is spread over all classes.
        layer_decay: Factor on the learning rate from block to block towards the input; 1 for one rate.
        freeze_epochs: Epochs at the start in which the head alone learns and the encoder stays in evaluation
            mode.
        target_scale: Original units per unit of ``target``; the data's if ``outputs`` is not given.
        vote_on: What evaluation averages where the data look at a sample several times (windows of a
            recording, ``Voting``): ``"logits"`` as ECG-JEPA, ``"probabilities"`` as Point-JEPA.
        optim: Optimiser and schedules; None for AdamW, 5e-4 after half an epoch of warm-up, cosine to 1e-6,
            weight decay .05.
        seed: Of the head and of dropout; the run's if not given.

    Raises:
        ValueError: If there is neither checkpoint nor system, or an option is out of its range.
        CheckpointError: If the checkpoint cannot be read.
    """

    head: TaskHead

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        system: JointEmbedding | None = None,
        weights: Weights = "ema",
        task: Task | None = None,
        outputs: int | None = None,
        head: HeadKind = "linear",
        heads: int = 12,
        hidden: int = 256,
        dropout: float = 0.5,
        label_smoothing: float = 0.0,
        layer_decay: float = 1.0,
        freeze_epochs: int = 0,
        target_scale: float = 1.0,
        vote_on: VoteOn = "logits",
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        if system is None and checkpoint is None:
            raise ValueError("FineTune needs the checkpoint of a pre-trained system (--model.checkpoint).")
        if weights not in ("ema", "student"):
            raise ValueError(f"weights must be 'ema' or 'student', not {weights!r}.")
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], not {layer_decay}.")
        if vote_on not in get_args(VoteOn):
            raise ValueError(f"vote_on must be 'logits' or 'probabilities', not {vote_on!r}.")
        if freeze_epochs < 0:
            raise ValueError(f"freeze_epochs must not be negative, not {freeze_epochs}.")
        if system is None:
            system = load_model(cast(str, checkpoint))
        super().__init__(
            pretrained_encoder(system, weights),
            optim=optim
            or Optim(
                lr=5e-4,
                start_lr=0.0,
                final_lr=1e-6,
                warmup_epochs=0.5,
                weight_decay=0.05,
                final_weight_decay=None,
            ),
            seed=seed,
        )
        self.encoder.train()  # loaded models are in evaluation mode, and Lightning leaves modes alone
        # The function alone: predictor and projectors of the system are not needed any more.
        self.pool_tokens = system.pool_tokens  # type: ignore[method-assign]
        self._head_options: dict[str, Any] = {
            "kind": head,
            "heads": heads,
            "hidden": hidden,
            "dropout": dropout,
        }
        self.label_smoothing = label_smoothing
        self.layer_decay = layer_decay
        self.freeze_epochs = freeze_epochs
        self.target_scale = target_scale
        self.vote_on: VoteOn = vote_on
        self.task: Task | None = None if task is None else task_of(None, task)
        self._answers = Answers()
        with contextlib.suppress(SpecError):  # a system of ready modules: then neither can this be rebuilt
            self._note(system=describe(system))
        if self.task is not None and outputs is not None:
            self._build_head(outputs)

    def _note(self, **found: Any) -> None:
        """Add what was found out to the description that checkpoints hold."""
        if self._init_args is not None:
            self._init_args.update(found)

    def _build_head(self, outputs: int) -> None:
        encoder = cast(Any, self.encoder)
        dim = encoder.embed_dim
        width = self.pool_tokens(torch.zeros(1, math.prod(encoder.grid), dim)).shape[1]
        with random.seeded(random.key(self.seed, "head")):
            self.head = TaskHead(
                pool=self.pool_tokens, dim=dim, width=width, outputs=outputs, **self._head_options
            )

    def setup(self, stage: str) -> None:
        """Ask the data what there is to be answered, and make the head for it.

        Raises:
            ValueError: If the data do not say.
        """
        if hasattr(self, "head"):
            return
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise ValueError("FineTune without a data module needs to be told task and outputs.")
        data.evaluation_dataloader("train")  # some know their task only when their files have been read
        self.task = task_of(data, self.task)
        found: dict[Task, int | None] = {
            "classification": getattr(data, "num_classes", None),
            "regression": 1,
            "multilabel": len(getattr(data, "label_names", None) or ()) or None,
        }
        outputs = found[self.task]
        if outputs is None:
            raise ValueError(
                f"{type(data).__name__} does not say how many classes or labels there are for a {self.task} "
                "task: give outputs (--model.task and --model.outputs)."
            )
        if self.task == "regression":
            self.target_scale = float(getattr(data, "target_scale", 1.0))
        self._build_head(outputs)
        self._note(task=self.task, outputs=outputs, target_scale=self.target_scale)

    @property
    def frozen(self) -> bool:
        """Whether the head alone learns in this epoch."""
        return self.current_epoch < self.freeze_epochs

    def train(self, mode: bool = True) -> "FineTune":
        """Switch to training mode, all but a frozen encoder."""
        super().train(mode)
        if mode and self.frozen:
            self.encoder.eval()
        return self

    def step(self, batch: dict[str, Any]) -> StepOutput:
        """Encode, answer, compare; in evaluation over all ``looks`` that a batch has at its samples."""
        task = cast(Task, self.task)
        answers = answers_of(batch, task)
        if "looks" in batch and not self.training:
            outputs, features = over_looks(batch, self._look)
            outputs = vote(outputs, batch["look_counts"], task, self.vote_on)
            pooled = mean_of_looks(features, batch["look_counts"])
        else:
            outputs, pooled = self._look(batch["x"])
        loss = loss_of(outputs, answers, task, self.label_smoothing)
        return StepOutput(loss, {}, pooled, {"outputs": outputs.detach()})

    def _look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, C) in float32, and detached pooled features (B, F)."""
        with self._keyed_dropout():
            # Without a graph where no gradient is wanted; several ranks need it to agree on what they reduce.
            alone = self.training and self.frozen and distributed.world_size() == 1
            with torch.set_grad_enabled(torch.is_grad_enabled() and not alone):
                tokens = cast(Tensor, self.encoder(x))
            outputs = self.head(tokens).float()
        return outputs, self.pool_tokens(tokens.detach())

    @contextlib.contextmanager
    def _keyed_dropout(self) -> Iterator[None]:
        """Global generators set from the step's key and the rank, and put back afterwards."""
        if not self.training:
            yield
            return
        drawn = random.key(self.step_key("dropout"), "rank", distributed.rank())
        gpu = [self.device] if self.device.type == "cuda" else []
        with random.seeded(drawn), torch.random.fork_rng(gpu, enabled=bool(gpu)):
            if gpu:
                torch.cuda.manual_seed(drawn & ((1 << 63) - 1))
            yield

    # Lightning.

    def _evaluate(self, batch: dict[str, Any], batch_idx: int, stage: str) -> dict[str, Tensor]:
        self._batch_idx = batch_idx
        out = self.step(batch)
        self.log(f"{stage}/loss", out.loss, prog_bar=True, sync_dist=True, batch_size=len(batch["x"]))
        self._answers.add(batch, out.extras["outputs"], answers_of(batch, cast(Task, self.task)))
        return {"loss": out.loss, "embedding": cast(Tensor, out.embedding)}

    def on_validation_epoch_end(self) -> None:
        """Log the figure of the whole split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log the figure of the whole split."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        task = cast(Task, self.task)
        found = self._answers.compute(task)
        if found is not None:
            found *= self.target_scale if task == "regression" else 1.0
            self.log(f"{stage}/{METRICS[task]}", found, prog_bar=True)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Freeze or unfreeze at the border of epochs, also after a resume inside of one."""
        super().on_train_batch_start(batch, batch_idx)
        if self.encoder.training == self.frozen:
            self.train()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Drop the gradients of a frozen encoder, then set the step's learning rate."""
        if self.frozen:
            for parameter in self.encoder.parameters():
                parameter.grad = None
        super().on_before_optimizer_step(optimizer)

    def configure_optimizers(self) -> Optimizer:
        """Groups by layer where rates decay; weight decay for matrices alone."""
        groups = layer_decay_groups(self.encoder, [self.head], self.layer_decay, no_decay=_NO_DECAY)
        return self.optim.build(groups, clips=bool(self.trainer.gradient_clip_val))

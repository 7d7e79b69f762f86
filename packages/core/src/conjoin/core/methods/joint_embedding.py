# SPDX-License-Identifier: Apache-2.0
"""The base of every system: an encoder, an optimiser with its schedules, and a frozen representation.

A subclass writes :meth:`JointEmbedding.step`. Everything that callbacks, probes and the command line need
(``embed``, logged names, keys for randomness, parameter groups, sharding) is here and the same for all
systems.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from conjoin.core import distributed, random
from conjoin.core.checkpoint import Checkpointed
from conjoin.core.data.looks import mean_of_looks, over_looks
from conjoin.core.methods.sharding import shard
from conjoin.core.objectives import StatefulObjective
from conjoin.core.optim import Optim, Schedule, parameter_groups, set_hyperparameters

__all__ = ("JointEmbedding", "StepOutput", "emulates_bfloat16")


def emulates_bfloat16() -> bool:
    """Whether this is an x86 processor without bfloat16 arithmetic (AVX512-BF16 or AMX)."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found.get("architecture") == "x86_64" and not (found.get("avx512_bf16") or found.get("amx_bf16"))


@dataclass
class StepOutput:
    """What a training or validation step gives.

    Attributes:
        loss: Scalar with gradient.
        terms: Detached named summands of the loss, for the log.
        embedding: (B, D) detached features of this batch for monitors and probes, or None.
        extras: Further detached tensors for callbacks (``targets``, ``target_index``, ``projection``,
            ``prototype_logits``).
        frozen: What ``embed`` gives for this batch, where the step has computed it: saves online probes a
            forward pass in validation.
    """

    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    frozen: Tensor | None = None


class JointEmbedding(Checkpointed):
    """Base class of joint-embedding systems.

    Args:
        encoder: ``encoder(x, keep=None) -> (B, N or K, D)`` with ``embed_dim``.
        optim: Optimiser and schedules.
        seed: Seed of everything the system draws; the run's seed (``--seed_everything``) if not given.
    """

    def __init__(self, encoder: nn.Module, *, optim: Optim | None = None, seed: int | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.optim = optim or Optim()
        self.seed = random.default_seed() if seed is None else seed
        self._batch_idx = 0
        self._schedules: tuple[Schedule, Schedule] | None = None

    # What a subclass says.

    @abstractmethod
    def step(self, batch: dict[str, Any]) -> StepOutput:
        """The loss of one batch, in training and in validation."""

    @property
    def representation(self) -> nn.Module:
        """The module that gives the frozen representation."""
        return self.encoder

    def trainable(self) -> list[nn.Module]:
        """Modules whose parameters are optimised."""
        return [module for module in self.children() if any(p.requires_grad for p in module.parameters())]

    # The frozen representation.

    @torch.no_grad()
    def tokens(self, batch: dict[str, Any], layers: int = 1) -> Tensor:
        """Frozen token features.

        Args:
            batch: With ``x`` on the module's device.
            layers: Concatenate the outputs of the last ``layers`` blocks along the channels.

        Returns:
            (B, N, D * layers).

        Raises:
            ValueError: If ``layers`` is above 1 and the encoder has no ``intermediate``.
        """
        module = self.representation
        was_training = module.training
        module.eval()
        try:
            if layers == 1:
                return cast(Tensor, module(batch["x"]))
            if not hasattr(module, "intermediate"):
                raise ValueError(
                    f"{type(module).__name__} has no `intermediate`: only layers=1 can be asked of it."
                )
            return torch.cat(cast(Any, module).intermediate(batch["x"], layers), dim=-1)
        finally:
            module.train(was_training)

    def embed(self, batch: dict[str, Any], layers: int = 1) -> Tensor:
        """Frozen features of whole samples: :meth:`pool_tokens` of the tokens, averaged over ``looks``."""
        return self.embed_each(batch, (layers,))[0]

    def embed_each(self, batch: dict[str, Any], layers: Sequence[int]) -> list[Tensor]:
        """:meth:`embed` for several numbers of last blocks, in one pass through the encoder."""

        def pooled(x: dict[str, Any]) -> list[Tensor]:
            tokens = self.tokens(x, max(layers))
            width = tokens.shape[-1] // max(layers)
            return [self.pool_tokens(tokens[..., -width * count :]) for count in layers]

        if "looks" not in batch:
            return pooled(batch)
        found = over_looks(batch, lambda x: pooled({"x": x}))
        return [mean_of_looks(features, batch["look_counts"]) for features in found]

    @staticmethod
    def pool_tokens(tokens: Tensor) -> Tensor:
        """Features of whole samples (B, F) from those of their tokens (B, N, D): the mean, F = D.

        A system whose paper pools otherwise says so here, and probes and fine-tuning follow.
        """
        return tokens.mean(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Token features (B, N, D) of the representation, with gradient."""
        return cast(Tensor, self.representation(x))

    # Randomness.

    def sample_keys(self, batch: dict[str, Any], purpose: str) -> Tensor:
        """One key per sample, from (seed, purpose, epoch, data-set index); int64 (B,) on the CPU.

        Batches without ``index`` are keyed by their place in the epoch instead, which depends on the number
        of ranks.
        """
        epoch = self.current_epoch if self.training else 0
        index = batch.get("index")
        if index is None:
            base = random.key(self.seed, purpose, epoch, self._batch_idx, distributed.rank())
            return random.fold(base, torch.arange(len(batch["x"])))
        return random.fold(random.key(self.seed, purpose, epoch), index.cpu())

    def step_key(self, purpose: str) -> int:
        """One key per batch, the same on all ranks."""
        return random.key(
            self.seed, f"{purpose}/step", self.current_epoch if self.training else 0, self._batch_idx
        )

    # Lightning.

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """One step; the returned dictionary is what callbacks read."""
        self._batch_idx = batch_idx
        out = self.step(batch)
        self.log("train/loss", out.loss.detach(), prog_bar=True)
        if out.terms:
            self.log_dict({f"train/{name}": term for name, term in out.terms.items()})
        outputs = {"loss": out.loss, **out.extras}
        if out.embedding is not None:
            outputs["embedding"] = out.embedding
        return outputs

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """The same loss on held-out data, with draws that never change."""
        return self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """The loss on the test split; probes are the business of ``FrozenEvaluation``."""
        return self._evaluate(batch, batch_idx, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Embeddings with the samples' ``index`` and ``label`` where there are any."""
        kept: dict[str, Tensor] = {name: batch[name] for name in ("index", "label") if name in batch}
        return {"embedding": self.embed(batch), **kept}

    def _evaluate(self, batch: dict[str, Any], batch_idx: int, stage: str) -> dict[str, Tensor]:
        self._batch_idx = batch_idx
        out = self.step(batch)
        size = len(batch["x"])
        self.log(f"{stage}/loss", out.loss, prog_bar=True, sync_dist=True, batch_size=size)
        found = {"loss": out.loss, "embedding": out.embedding, "frozen": out.frozen}
        return {name: value for name, value in found.items() if value is not None}

    def configure_model(self) -> None:
        """Shard the system under Lightning's ``ModelParallelStrategy`` (FSDP2); nothing to do otherwise."""
        if self.device_mesh is not None and not any(isinstance(p, DTensor) for p in self.parameters()):
            for module in self.children():
                shard(module, self.device_mesh["data_parallel"])

    # Optimisation: schedules are functions of the optimiser step, written into the groups before each step.

    def configure_optimizers(self) -> Optimizer:
        """Decay and no-decay groups of :meth:`trainable`."""
        groups = parameter_groups(self.trainable())
        return self.optim.build(groups, clips=bool(self.trainer.gradient_clip_val))

    def on_fit_start(self) -> None:
        """Say so where half precision will not pay."""
        if (
            str(self.trainer.precision).startswith("bf16")
            and self.device.type == "cpu"
            and emulates_bfloat16()
        ):
            rank_zero_warn(
                f"This processor has no bfloat16 arithmetic: precision {self.trainer.precision} works "
                "but may be slower than 32-true here (--trainer.precision 32-true)."
            )

    def on_train_start(self) -> None:
        """Lay the schedules over the run."""
        # Not in configure_optimizers: Lightning would have to make the training loader there, before the
        # position saved in a checkpoint is restored, and the resumed epoch would start at its beginning.
        loop = self.trainer.fit_loop
        if loop.restarting and getattr(loop, "_combined_loader_states_to_load", None):
            raise RuntimeError(
                "The training loader was made before its position in the checkpoint was restored, so the "
                "resumed run would repeat samples. Something asked for trainer.estimated_stepping_batches "
                "too early (in setup or configure_optimizers): ask in on_train_start instead."
            )
        self._schedules = self.optim.schedules(*self.horizon())
        for objective in self.stateful_objectives():
            objective.defer()
            if not self.trainer.global_step:  # later they are, and doing it twice would move last digits
                objective.constrain()

    def stateful_objectives(self) -> list[StatefulObjective]:
        """Objectives whose centres, queues or counters move with the optimiser's steps."""
        return [module for module in self.modules() if isinstance(module, StatefulObjective)]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's step, once per accumulated batch; then the objectives' state moves, on every rank."""
        super().optimizer_step(*args, **kwargs)
        for objective in self.stateful_objectives():
            objective.advance()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Mend Lightning's count of epochs after a resume from the very last batch of one."""
        # Lightning 2.6 then counts the finished epoch but not the start of the next. Training itself is
        # right, but a checkpoint of that epoch would say that no epoch is under way, and resuming from *it*
        # would repeat batches.
        progress = self.trainer.fit_loop.epoch_progress
        current = cast(Any, progress.current)  # declared as the base of what it is
        if current.started == current.processed:
            progress.increment_ready()
            progress.increment_started()

    def horizon(self) -> tuple[int, int]:
        """Optimiser steps in the whole run and in one epoch.

        Raises:
            ValueError: If the run has no end.
        """
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise ValueError(
                "Schedules need to know the length of the run: set trainer.max_epochs or trainer.max_steps."
            )
        return int(total), math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Set learning rate and weight decay of the step that follows."""
        assert self._schedules is not None
        lr, weight_decay = (schedule(self.trainer.global_step) for schedule in self._schedules)
        set_hyperparameters(optimizer, lr=lr, weight_decay=weight_decay)
        self.log_dict({"schedule/lr": lr, "schedule/weight_decay": weight_decay})

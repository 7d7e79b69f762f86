# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning as A-JEPA evaluates: mean over tokens, linear head, regularised masking while training.

The core's :class:`~conjoin.core.methods.FineTune` with regularised masking and, for several labels per clip,
mean average precision beside the macro AUC. Layer decay 0.75 is that of AudioMAE, on whose recipe the paper
builds.
"""

from typing import Any

from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision

from conjoin.audio.encoders.regularized import RegularizedMode
from conjoin.audio.encoders.spectrogram_vit import SpectrogramViT
from conjoin.core.evaluation.task import Task
from conjoin.core.methods import FineTune, JointEmbedding, StepOutput
from conjoin.core.optim import Optim

__all__ = ("SoundFineTune",)


class SoundFineTune(FineTune):
    """Fine-tune the encoder of an ``AJEPA``; logs ``val/map`` and ``test/map`` for several labels per clip.

    Args:
        checkpoint: Of the pre-trained system. A checkpoint of the fine-tuned model does without that file.
        system: The pre-trained system itself, instead of a file.
        regularize: Share of the tokens that do not count for attention in each layer while training.
        regularize_mode: How they do not count, see :mod:`conjoin.audio.encoders.regularized`.
        layer_decay: Factor on the learning rate from block to block towards the input.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``; what the data declare if not given.
        outputs: Classes or labels; the data's if not given.
        label_smoothing: Share of each label that is spread over all classes.
        target_scale: Original units per unit of ``target`` in a regression; the data's if not given.
        optim: Optimiser and schedules; None for those of ``FineTune``.
        seed: Of the head and of the choice of tokens; the run's if not given.

    Raises:
        ValueError: If there is neither checkpoint nor system, the system has no spectrogram encoder, or an
            option is out of its range.
        CheckpointError: If the checkpoint cannot be read.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        system: JointEmbedding | None = None,
        regularize: float = 0.1,
        regularize_mode: RegularizedMode = "keys",
        layer_decay: float = 0.75,
        task: Task | None = None,
        outputs: int | None = None,
        label_smoothing: float = 0.0,
        target_scale: float = 1.0,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            checkpoint,
            system=system,
            layer_decay=layer_decay,
            task=task,
            outputs=outputs,
            label_smoothing=label_smoothing,
            target_scale=target_scale,
            optim=optim,
            seed=seed,
        )
        if not isinstance(self.encoder, SpectrogramViT):
            raise ValueError(
                f"Regularised masking needs a SpectrogramViT, not {type(self.encoder).__name__}: use "
                f"FineTune instead."
            )
        self.encoder.regularize(regularize, regularize_mode)
        self.precision_score: MultilabelAveragePrecision | None = None
        self._outputs: Tensor | None = None

    def step(self, batch: dict[str, Any]) -> StepOutput:
        """As the base does, and keep what was answered for the score."""
        out = super().step(batch)
        self._outputs = out.extras["outputs"]
        return out

    def _evaluate(self, batch: dict[str, Any], batch_idx: int, stage: str) -> dict[str, Tensor]:
        result = super()._evaluate(batch, batch_idx, stage)
        if self.task == "multilabel":
            assert self._outputs is not None
            if self.precision_score is None:
                self.precision_score = MultilabelAveragePrecision(self._outputs.shape[1]).to(self.device)
            self.precision_score.update(self._outputs.sigmoid(), batch["labels"].long())
        return result

    def _finish(self, stage: str) -> None:
        super()._finish(stage)
        if self.precision_score is not None:
            self.log(f"{stage}/map", self.precision_score.compute(), prog_bar=True)
            self.precision_score.reset()

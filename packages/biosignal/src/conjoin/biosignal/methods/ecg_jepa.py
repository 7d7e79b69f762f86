# SPDX-License-Identifier: Apache-2.0
r"""ECG-JEPA: predict the features of everything hidden in a recording from a fifth of its patches.

Weimann and Conrad, "Self-Supervised Pre-Training with Joint-Embedding Predictive Architecture Boosts ECG
Classification Performance" (arXiv 2410.13867; not the method of the same name by Kim, arXiv 2410.08559). With
the context encoder :math:`f_\theta`, its moving average :math:`f_{\bar\theta}` and the predictor
:math:`g_\phi`,

.. math::
    h = f_{\bar\theta}(x)_H, \quad \hat h = g_\phi\bigl(f_\theta(x_V),\, \{\text{mask} + p_j\}_{j \in
    H}\bigr), \quad L = \operatorname{mean}\, |\hat h - h|

over samples, hidden patches :math:`H` (all but the visible :math:`V`) and channels. Targets are the output of
the teacher's final norm, whose weight is learned; they are not normalised again.

Beside the released code (kweimann/ECG-JEPA), whose constants are the defaults:

* The teacher moves right after an optimiser step, the release at the start of the next one: targets are the
  same. The one difference is that the release leaves the last step of a run out of its average.
* With gradient accumulation the teacher moves once per optimiser step, on a schedule over optimiser steps.
  The release counts micro-batches, so that momentum ends its rise half-way for ViT-B;
  ``official_accumulation`` does so.
* A resumed run goes on where it stopped; the release restarts its step counter while its schedules continue.
"""

from typing import Literal

from torch import Tensor
from torch.optim import Optimizer

from conjoin.biosignal.encoders.signal_vit import VARIANTS, SignalViT, interleaved_positions
from conjoin.biosignal.masking.runs import RunMask
from conjoin.core import random
from conjoin.core.masking import MaskSampler
from conjoin.core.methods import JEPA
from conjoin.core.nn import Init, Predictor
from conjoin.core.objectives.latent_regression import Distance, LatentRegression, Normalization
from conjoin.core.optim import Linear, Optim, parameter_groups

__all__ = ("ECGJEPA", "PAPER_OPTIM", "SignalPredictor")

PAPER_OPTIM = Optim(
    lr=1e-3,
    start_lr=1e-6,
    final_lr=1e-6,
    warmup_steps=10_000,
    weight_decay=0.01,
    final_weight_decay=0.1,
    betas=(0.9, 0.99),
    eps=1e-6,
    count_from=0,
)
"""AdamW as in the paper, for runs of 100,000 steps with batches of 2048."""


class SignalPredictor(Predictor):
    """The core's predictor with ECG-JEPA's layout of the position table."""

    def positions(self) -> Tensor:
        """Sines in the even channels, cosines in the odd ones: (N, dim)."""
        return interleaved_positions(self.grid[0], self.dim)


class ECGJEPA(JEPA):
    """Joint-embedding prediction of the hidden parts of a multichannel recording.

    Args:
        encoder: ``"vit_xs"``, ``"vit_s"`` or ``"vit_b"``, with the predictor that belongs to it.
        length: Longest signal in samples.
        patch: Samples of a patch.
        in_channels: Channels (leads).
        encoder_dim: Width of the encoder instead of the named variant's.
        encoder_depth: Blocks of the encoder instead of the named variant's.
        encoder_heads: Heads of the encoder instead of the named variant's.
        predictor_dim: Width of the predictor instead of the named variant's.
        predictor_depth: Blocks of the predictor instead of the named variant's.
        predictor_heads: Heads of the predictor instead of the named variant's.
        registers: Register tokens of the encoder.
        masks: What is visible and what is to be predicted; None for ``RunMask()``.
        distance: Between predictions and targets.
        normalize: Normalisation of the targets beyond the teacher's final norm.
        ema: Teacher momentum at the first and after the last optimiser step, linear in between.
        official_accumulation: Let the teacher's schedule count micro-batches, as the release does.
        init: Scheme of the initial weights.
        patch_gain: Factor on the initial patch projection.
        optim: Optimiser and schedules; None for ``PAPER_OPTIM``.
        seed: Of the initial weights and all draws; None for the run's.

    Raises:
        ValueError: If an option is unknown, or sizes do not fit each other.
    """

    def __init__(
        self,
        encoder: Literal["vit_xs", "vit_s", "vit_b"] = "vit_xs",
        length: int = 5000,
        patch: int = 25,
        in_channels: int = 12,
        *,
        encoder_dim: int | None = None,
        encoder_depth: int | None = None,
        encoder_heads: int | None = None,
        predictor_dim: int | None = None,
        predictor_depth: int | None = None,
        predictor_heads: int | None = None,
        registers: int = 1,
        masks: MaskSampler | None = None,
        distance: Distance = "l1",
        normalize: Normalization = "none",
        ema: tuple[float, float] = (0.998, 0.9995),
        official_accumulation: bool = False,
        init: Init = "official",
        patch_gain: float = 1.0,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        if encoder not in VARIANTS:
            raise ValueError(f"There is no encoder {encoder!r}; choose one of {', '.join(VARIANTS)}.")
        named = VARIANTS[encoder]
        depth = predictor_depth or named.predictor_depth
        seed = random.default_seed() if seed is None else seed
        with random.seeded(random.key(seed, "init")):
            backbone = SignalViT(
                length,
                patch,
                in_channels,
                encoder_dim or named.dim,
                encoder_depth or named.depth,
                encoder_heads or named.heads,
                registers=registers,
                init=init,
                patch_gain=patch_gain,
            )
            predictor = SignalPredictor(
                backbone.embed_dim,
                backbone.grid,
                predictor_dim or named.predictor_dim,
                depth,
                predictor_heads or named.predictor_heads,
                bias=False,
                init=init,
                residual_gain=(2 * depth) ** -0.5 if init == "official" else 1.0,
            )
        super().__init__(
            backbone,
            predictor,
            masks or RunMask(),
            objective=LatentRegression(distance, normalize),
            ema=ema,
            optim=optim or PAPER_OPTIM,
            seed=seed,
        )
        self.official_accumulation = official_accumulation

    def configure_optimizers(self) -> Optimizer:
        """Weight decay for weights of linear layers and convolutions alone, not for tokens."""
        groups = parameter_groups(self.trainable(), no_decay=("registers", "mask_token"))
        return self.optim.build(groups, clips=bool(self.trainer.gradient_clip_val))

    def momentum(self, step: int) -> float:
        """Momentum m(s) = start + (end - start) s / S of the step s = ``step`` + 1 that comes next."""
        schedule = Linear(*self.ema, self.horizon()[0], self.optim.schedule_stretch)
        if not self.official_accumulation:
            return schedule(step + 1)
        # Each micro-batch of the next step moves the teacher again towards the same weights.
        micro = self.trainer.accumulate_grad_batches
        product = 1.0
        for number in range(micro * (step + 1), micro * (step + 2)):
            product *= schedule(number)
        return product

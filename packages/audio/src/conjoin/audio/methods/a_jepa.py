# SPDX-License-Identifier: Apache-2.0
r"""A-JEPA: predict the features of hidden time-frequency blocks of a spectrogram.

Fei, Fan and Huang, "A-JEPA: Joint-Embedding Predictive Architecture Can Listen" (arXiv 2311.15830). With the
context encoder :math:`f_\theta`, its moving average :math:`f_{\bar\theta}` and the predictor :math:`g_\phi`,

.. math::
    h = \mathrm{LN}\bigl(f_{\bar\theta}(x)\bigr), \quad
    \hat h_m = g_\phi\bigl(f_\theta(x_C),\, \{\text{mask} + p_j\}_{j \in B_m}\bigr), \quad
    L = \operatorname{mean}_{m,\, j \in B_m} \bigl\|\hat h_{m,j} - h_j\bigr\|^2

over the channels, M target blocks :math:`B_m` and a context :math:`C`. That is I-JEPA; what differs is the
choice of blocks. At each optimiser step a coin decides between I-JEPA's random blocks and
:class:`~conjoin.audio.masking.time_frequency.TimeFrequencyMask`, whose context shares no moment and no band
with a target; the chance of the latter rises by :func:`~conjoin.audio.masking.curriculum.competence`.

No code was released. What the paper leaves open is chosen so: targets are layer-normalised and the momentum
rises from 0.996 to 1, as in I-JEPA's code; 16 predictor heads and the optimiser as in AudioMAE's AudioSet
recipe; target blocks keep the aspect ratios of the random mode. Contexts really cover 85 to 100 % of the grid
before anything is left out, while I-JEPA's square block of a 64 x 8 grid covers 30 % at most. Validation
always uses the hard masks.
"""

from typing import Any, Literal

import torch

from conjoin.audio.encoders.spectrogram_vit import VARIANTS, SpectrogramViT
from conjoin.audio.masking import Curriculum, TimeFrequencyMask, hard_share, shares_line
from conjoin.core import random
from conjoin.core.masking import Masks, MaskSampler, MultiBlockMask
from conjoin.core.methods import JEPA
from conjoin.core.nn import Init, Predictor
from conjoin.core.objectives.latent_regression import Distance, LatentRegression, Normalization
from conjoin.core.optim import Optim

__all__ = ("AJEPA", "PAPER_OPTIM")

PAPER_OPTIM = Optim(
    lr=2e-4,
    start_lr=0.0,
    final_lr=0.0,
    warmup_epochs=3,
    weight_decay=1e-4,
    final_weight_decay=None,
    betas=(0.9, 0.95),
)
"""The paper's learning rate for batches of 512 over 24 epochs; the rest is AudioMAE's AudioSet recipe."""


class AJEPA(JEPA):
    """The joint-embedding predictive architecture for sound.

    Args:
        encoder: ``"vit_s"``, ``"vit_b"`` or ``"vit_l"``.
        frames: Frames of a spectrogram.
        mels: Mel bands.
        patch: Frames and bands of a patch, or one number for both.
        encoder_dim: Width of the encoder instead of the named variant's.
        encoder_depth: Blocks of the encoder instead of the named variant's.
        encoder_heads: Heads of the encoder instead of the named variant's.
        predictor_dim: Width of the predictor.
        predictor_depth: Blocks of the predictor.
        predictor_heads: Heads of the predictor.
        masks: The hard masks; None for ``TimeFrequencyMask()``.
        easy_masks: The random blocks; None for ``MultiBlockMask()``, I-JEPA's.
        curriculum: How often the hard masks are used: ``"rising"``, or the ablations ``"falling"``,
            ``"always"`` and ``"never"``.
        curriculum_start: Competence at the first step.
        distance: Between predictions and targets.
        normalize: Normalisation of the targets.
        ema: Teacher momentum at the first and after the last optimiser step, linear in between.
        init: Scheme of the initial weights.
        patch_gain: Factor on the initial patch projection, see ``PatchProjection``.
        patch_dc: Share of the mean of each patch filter that is left in it at the start.
        optim: Optimiser and schedules; None for ``PAPER_OPTIM``.
        seed: Of the initial weights and all draws; None for the run's.

    Raises:
        ValueError: If an option is unknown, or sizes do not fit each other.
    """

    def __init__(
        self,
        encoder: Literal["vit_s", "vit_b", "vit_l"] = "vit_b",
        frames: int = 1024,
        mels: int = 128,
        patch: int | tuple[int, int] = 16,
        *,
        encoder_dim: int | None = None,
        encoder_depth: int | None = None,
        encoder_heads: int | None = None,
        predictor_dim: int = 512,
        predictor_depth: int = 16,
        predictor_heads: int = 16,
        masks: MaskSampler | None = None,
        easy_masks: MaskSampler | None = None,
        curriculum: Curriculum = "rising",
        curriculum_start: float = 0.01,
        distance: Distance = "l2",
        normalize: Normalization = "layer",
        ema: tuple[float, float] = (0.996, 1.0),
        init: Init = "official",
        patch_gain: float = 1.0,
        patch_dc: float = 1.0,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        if encoder not in VARIANTS:
            raise ValueError(f"There is no encoder {encoder!r}; choose one of {', '.join(VARIANTS)}.")
        hard_share(curriculum, 0, 1, curriculum_start)  # refuses what it does not know
        dim, depth, heads = VARIANTS[encoder]
        seed = random.default_seed() if seed is None else seed
        with random.seeded(random.key(seed, "init")):
            backbone = SpectrogramViT(
                frames,
                mels,
                patch,
                encoder_dim or dim,
                encoder_depth or depth,
                encoder_heads or heads,
                init=init,
                patch_gain=patch_gain,
                patch_dc=patch_dc,
            )
            predictor = Predictor(
                backbone.embed_dim, backbone.grid, predictor_dim, predictor_depth, predictor_heads, init=init
            )
        super().__init__(
            backbone,
            predictor,
            masks or TimeFrequencyMask(),
            objective=LatentRegression(distance, normalize),
            ema=ema,
            optim=optim or PAPER_OPTIM,
            seed=seed,
        )
        self.easy_masks = easy_masks or MultiBlockMask()
        self.easy_masks.check(self.grid)
        self.curriculum: Curriculum = curriculum
        self.curriculum_start = curriculum_start

    def is_hard(self, step: int, steps: int) -> bool:
        """Whether step ``step`` (from 0) of ``steps`` uses the hard masks; the same on all ranks."""
        share = hard_share(self.curriculum, step, steps, self.curriculum_start)
        return bool(random.uniform(torch.tensor(random.key(self.seed, "curriculum", step)), 1)[0] < share)

    def partition(self, batch: dict[str, Any]) -> Masks:
        """Draw the mode of this optimiser step, then the masks; tell the log about both."""
        fitting = self.training and self._trainer is not None
        hard = self.is_hard(self.trainer.global_step, self.horizon()[0]) if fitting else True
        sampler = self.masks if hard else self.easy_masks
        masks = sampler(self.grid, self.sample_keys(batch, "mask"), self.step_key("mask"))
        if fitting:
            # On the CPU still, so nothing waits.
            self.log("train/hard_masks", float(hard))
            self.log("train/context_tokens", float(masks.context.shape[1]))
            if hard:
                self.log("train/relaxed_masks", shares_line(masks, self.grid).double().mean())
        return masks.to(self.device)

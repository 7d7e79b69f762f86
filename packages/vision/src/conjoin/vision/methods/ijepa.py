# SPDX-License-Identifier: Apache-2.0
r"""I-JEPA: predict the features of hidden blocks of an image from one visible block.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture", CVPR
2023 (arXiv 2301.08243), section 3. Per image, M target blocks :math:`B_m` of patches and a context block
:math:`B_x` without their patches. With the context encoder :math:`f_\theta`, its exponential moving average
:math:`f_{\bar\theta}` and the predictor :math:`g_\phi`,

.. math::
    h = \mathrm{LN}\bigl(f_{\bar\theta}(x)\bigr), \quad
    \hat h_m = g_\phi\bigl(f_\theta(x_{B_x}),\, \{\text{mask} + p_j\}_{j \in B_m}\bigr), \quad
    L = \operatorname{mean}_{m,\, j \in B_m}\, d\bigl(\hat h_{m,j},\, h_j\bigr).

The teacher sees the whole image, the context encoder its own patches only, and the M blocks are predicted
independently of each other. Features for evaluation are the teacher's, averaged over patches.

Beside the released code (facebookresearch/ijepa, commit 52c1ae9), whose constants are the defaults:

* :math:`d` is smooth-L1 and targets are layer-normalised, as released; the paper writes the squared distance
  (``distance="l2"``).
* Blocks may touch every border and contexts are cut to a common length at random. The release never uses the
  last row and column and cuts contexts at the bottom; ``masks=OfficialMultiBlockMask()`` does as it does.
* The predictor has 12 blocks, as released for ViT-H and ViT-L (6 for ViT-B, 16 for ViT-g).
* ``prediction="together"`` is an option of other implementations: one pass of the predictor for all blocks,
  whose mask tokens then see each other; less than half of its work at the released constants.
* ``normalize="whiten"`` is an addition, see :mod:`conjoin.core.objectives.latent_regression`.
* ``init="xavier"``, ``patch_gain`` and ``patch_dc`` are additions for small patches and narrow encoders,
  where the released initialisation ends in features of position alone.
"""

from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from conjoin.core import random
from conjoin.core.masking import Masks, MaskSampler, MultiBlockMask
from conjoin.core.methods import JEPA
from conjoin.core.nn import Init, Predictor
from conjoin.core.objectives.latent_regression import Distance, LatentRegression, Normalization
from conjoin.core.optim import Optim
from conjoin.vision.encoders.timm_encoder import TimmEncoder
from conjoin.vision.encoders.vit import VARIANTS, ViT

__all__ = ("IJEPA",)


class IJEPA(JEPA):
    """The image-based joint-embedding predictive architecture.

    Args:
        encoder: ``"vit_tiny"`` ... ``"vit_giant"``, or ``"timm/NAME"`` for a vision transformer of timm.
        image_size: Height and width of the images in pixels, or one number for both.
        patch_size: Height and width of a patch in pixels, or one number (a timm encoder brings its own).
        in_channels: Channels of the images.
        encoder_dim: Width of the encoder instead of the named variant's.
        encoder_depth: Blocks of the encoder instead of the named variant's.
        encoder_heads: Heads of the encoder instead of the named variant's.
        predictor_dim: Width of the predictor.
        predictor_depth: Blocks of the predictor.
        predictor_heads: Heads of the predictor; None for the encoder's.
        masks: What is visible and what is to be predicted; None for ``MultiBlockMask()``, the released
            constants.
        distance: Between predictions and targets.
        normalize: Normalisation of the targets: ``"layer"`` as released, ``"whiten"`` against loss of rank in
            long runs on small data, ``"none"``, ``"l2"``.
        prediction: Of the blocks: ``"apart"``, each in a pass of its own as published, or ``"together"``.
        ema: Teacher momentum at the first and after the last optimiser step, linear in between.
        init: Scheme of the initial weights.
        patch_gain: Factor on the initial patch projection, see ``PatchProjection``.
        patch_dc: Share of the mean of each patch filter that is left in it at the start.
        optim: Optimiser and schedules; None for those of ViT-H/14, without warm-up.
        seed: Of the initial weights and all draws; None for the run's.

    Raises:
        ValueError: If an option is unknown, or sizes do not fit each other.
    """

    def __init__(
        self,
        encoder: str = "vit_small",
        image_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_channels: int = 3,
        *,
        encoder_dim: int | None = None,
        encoder_depth: int | None = None,
        encoder_heads: int | None = None,
        predictor_dim: int = 384,
        predictor_depth: int = 12,
        predictor_heads: int | None = None,
        masks: MaskSampler | None = None,
        distance: Distance = "smooth_l1",
        normalize: Normalization = "layer",
        prediction: Literal["apart", "together"] = "apart",
        ema: tuple[float, float] = (0.996, 1.0),
        init: Init = "official",
        patch_gain: float = 1.0,
        patch_dc: float = 1.0,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        if prediction not in ("apart", "together"):
            raise ValueError(f"prediction must be 'apart' or 'together', not {prediction!r}.")
        seed = random.default_seed() if seed is None else seed
        with random.seeded(random.key(seed, "init")):
            backbone: ViT | TimmEncoder
            if encoder.startswith("timm/"):
                backbone, heads = _timm_vit(encoder.removeprefix("timm/"), image_size, in_channels)
            elif encoder in VARIANTS:
                dim, depth, heads, mlp_ratio = VARIANTS[encoder]
                heads = encoder_heads or heads
                backbone = ViT(
                    image_size,
                    patch_size,
                    in_channels,
                    encoder_dim or dim,
                    encoder_depth or depth,
                    heads,
                    mlp_ratio,
                    init=init,
                    patch_gain=patch_gain,
                    patch_dc=patch_dc,
                )
            else:
                raise ValueError(
                    f"There is no encoder {encoder!r}; choose one of {', '.join(VARIANTS)}, or timm/NAME."
                )
            predictor = Predictor(
                backbone.embed_dim,
                backbone.grid,
                predictor_dim,
                predictor_depth,
                predictor_heads or heads,
                init=init,
            )
        super().__init__(
            backbone,
            predictor,
            masks or MultiBlockMask(),
            objective=LatentRegression(distance, normalize),
            ema=ema,
            optim=optim,
            seed=seed,
        )
        self.prediction = prediction

    def predict(self, context: Tensor, masks: Masks) -> Tensor:
        """Predicted features (B, M, Kt, D) of the target tokens."""
        if self.prediction == "apart":
            return super().predict(context, masks)
        valid = masks.targets_valid
        merged = replace(
            masks,
            targets=masks.targets.flatten(1).unsqueeze(1),
            targets_valid=None if valid is None else valid.flatten(1).unsqueeze(1),
        )
        return super().predict(context, merged).view(*masks.targets.shape, -1)


def _timm_vit(name: str, image_size: int | tuple[int, int], in_channels: int) -> tuple[TimmEncoder, int]:
    """A vision transformer of timm and its number of heads."""
    backbone = TimmEncoder(name, image_size, in_channels)
    if not backbone.by_tokens:
        raise ValueError(
            f"I-JEPA leaves hidden tokens out, which {name!r} of timm cannot; use a vision transformer."
        )
    attention: Any = backbone.model.get_submodule("blocks.0.attn")
    return backbone, int(attention.num_heads)

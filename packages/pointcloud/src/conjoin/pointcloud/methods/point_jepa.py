# SPDX-License-Identifier: Apache-2.0
r"""Point-JEPA: predict the features of hidden stretches of a cloud, put in order by nearest neighbours.

Saito, Kudeshia and Poovvancheri, "Point-JEPA: A Joint Embedding Predictive Architecture for Self-Supervised
Learning on Point Cloud", WACV 2025 (arXiv 2404.16432). A cloud becomes G patch tokens, ordered so that
neighbours in the sequence are neighbours in space. Targets are M stretches of that sequence, the context a
stretch of the rest. With tokens :math:`t`, positions :math:`p` of their centres, blocks :math:`f_\theta` and
their exponential moving average :math:`f_{\bar\theta}`,

.. math::
    h = \mathrm{LN}\bigl(f_{\bar\theta}(t, p)\bigr), \quad
    \hat h_m = g_\phi\bigl(f_\theta(t_{B_x}, p_{B_x}),\, \{\text{mask} + q_j\}_{j \in B_m}\bigr), \quad
    L = \operatorname{mean}_{m,\, j \in B_m} \mathrm{smoothL1}_{\beta = 2}(\hat h_{m,j}, h_j).

What differs from :class:`~conjoin.core.methods.JEPA`, as released (Ayumu-J-S/Point-JEPA, MIT):

* The teacher averages the blocks alone. Tokens and positions come from the student's tokenizer, without
  gradient on the target side; they are made once per step for both.
* Targets are the teacher's hidden states *before* its final norm, normalised without affine.
* The first two updates of the teacher copy the student, then the momentum rises linearly.
* Weight decay applies to all parameters, norms and biases included.
* Features for use are the student's, its maximum beside its mean over the tokens.

Deviations: stretches are drawn per cloud, not once for the batch (lengths are shared); the schedule moves per
optimiser step, not per epoch; no unused parameters; all draws, dropout's too, are functions of a key.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from conjoin.core import distributed, random
from conjoin.core.callbacks import EMATeacher
from conjoin.core.masking import IntervalMask, Masks, MaskSampler
from conjoin.core.methods import JEPA
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.nn import Init, gather_tokens
from conjoin.core.objectives.latent_regression import LatentRegression, Normalization
from conjoin.core.optim import Optim
from conjoin.pointcloud.draw import draw_masked_cloud
from conjoin.pointcloud.encoders import PointBlocks, PointPredictor, PointTransformer

__all__ = ("PointJEPA", "PointMasks")

_COPIES = 2  # updates of the teacher that copy the student


@dataclass(frozen=True, eq=False, repr=False)
class PointMasks(Masks):
    """Masks of a sequence of patches, with the patches' centres.

    Args:
        centers: (B, G, 3), in the order of the sequence.
    """

    centers: Tensor | None = None


class PointJEPA(JEPA):
    """The joint-embedding predictive architecture for point clouds; the defaults are the paper's.

    Args:
        groups: Patches (tokens) per cloud.
        group_size: Points per patch.
        radius: Radius of a patch if patches are balls; nearest neighbours if not given.
        sequence: Order of the tokens: ``"nearest_min"``, ``"nearest"``, ``"morton"`` or ``"none"``.
        widths: Of the patch network's first three layers.
        encoder_dim: Width of the encoder.
        encoder_depth: Blocks of the encoder.
        encoder_heads: Heads of the encoder.
        predictor_dim: Width of the predictor.
        predictor_depth: Blocks of the predictor.
        predictor_heads: Heads of the predictor.
        dropout: Rate in encoder and predictor.
        attention_dropout: Rate on attention weights in both.
        drop_path: Rate of the encoder's last block, rising from 0, and of each block of the predictor.
        masks: What is visible and what is to be predicted; None for ``IntervalMask()``, the paper's.
        normalize: Normalisation of the targets: ``"layer"`` as released, ``"whiten"`` against loss of rank in
            short runs, or see :mod:`conjoin.core.objectives.latent_regression`.
        ema: Teacher momentum at the first and after the last optimiser step, linear in between.
        init: Scheme of the initial weights.
        optim: Optimiser and schedules; None for the paper's, without warm-up.
        seed: Of the initial weights and all draws; None for the run's.

    Raises:
        ValueError: If an option is unknown, or sizes do not fit each other.
    """

    encoder: PointTransformer
    predictor: PointPredictor
    teacher: PointBlocks

    def __init__(
        self,
        groups: int = 64,
        group_size: int = 32,
        *,
        radius: float | None = None,
        sequence: str = "nearest_min",
        widths: tuple[int, int, int] = (128, 256, 512),
        encoder_dim: int = 384,
        encoder_depth: int = 12,
        encoder_heads: int = 6,
        predictor_dim: int = 192,
        predictor_depth: int = 6,
        predictor_heads: int = 6,
        dropout: float = 0.1,
        attention_dropout: float = 0.05,
        drop_path: float = 0.25,
        masks: MaskSampler | None = None,
        normalize: Normalization = "layer",
        ema: tuple[float, float] = (0.9995, 0.99999),
        init: Init = "official",
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        seed = random.default_seed() if seed is None else seed
        rates: dict[str, Any] = {
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "drop_path": drop_path,
        }
        with random.seeded(random.key(seed, "init")):
            encoder = PointTransformer(
                groups,
                group_size,
                encoder_dim,
                encoder_depth,
                encoder_heads,
                widths=widths,
                radius=radius,
                sequence=sequence,
                init=init,
                **rates,
            )
            predictor = PointPredictor(
                encoder_dim, predictor_dim, predictor_depth, predictor_heads, init=init, **rates
            )
        super().__init__(
            encoder,
            predictor,
            masks or IntervalMask(),
            objective=LatentRegression("smooth_l1", normalize, beta=2.0),
            ema=ema,
            optim=optim
            or Optim(lr=1e-3, start_lr=1e-5, final_lr=1e-6, weight_decay=0.05, final_weight_decay=None),
            seed=seed,
        )
        self.teacher = copy.deepcopy(encoder.transformer).requires_grad_(False)
        self.draws_noise = any(rates.values())

    @property
    def representation(self) -> nn.Module:
        """The student, as the paper evaluates it: the teacher has no tokenizer of its own."""
        return self.encoder

    @staticmethod
    def pool_tokens(tokens: Tensor) -> Tensor:
        """Features of whole clouds, the maximum beside the mean over tokens: (B, N, D) to (B, 2 D)."""
        return torch.cat((tokens.amax(dim=1), tokens.mean(dim=1)), dim=-1)

    def step(self, batch: dict[str, Any]) -> StepOutput:
        """Cut, order and embed once; then hide, encode, predict, compare."""
        patches = self.encoder.cut(batch["x"], self._start(batch))
        with self._noise():
            tokens, positions = self.encoder.tokenize(patches)
            made = {"centers": patches.centers, "tokens": tokens, "positions": positions}
            made["features"] = self.encode_targets(made)
            out = super().step({**batch, **made})
        # Monitors watch the teacher, pooled as `embed` pools the student: a second pass would cost a quarter.
        out.embedding = self.pool_tokens(self.teacher.norm(made["features"])).detach()
        return out

    def partition(self, batch: dict[str, Any]) -> PointMasks:
        """Stretches of the ordered sequence, with the centres that the predictor asks about."""
        centers = batch["centers"] if "centers" in batch else self.encoder.cut(batch["x"]).centers
        masks = super().partition(batch)
        return PointMasks(masks.context, masks.targets, masks.context_valid, masks.targets_valid, centers)

    def encode_context(self, batch: dict[str, Any], masks: Masks) -> Tensor:
        """Features (B, Kc, D) of the visible tokens."""
        tokens, positions = (gather_tokens(batch[name], masks.context) for name in ("tokens", "positions"))
        features: Tensor = self.encoder.transformer(tokens, positions)
        return features

    @torch.no_grad()
    def encode_targets(self, batch: dict[str, Any]) -> Tensor:
        """The teacher's hidden states (B, G, D) of all tokens, before its final norm."""
        if "features" in batch:
            return cast(Tensor, batch["features"])
        features: Tensor = self.teacher(batch["tokens"].detach(), batch["positions"].detach(), norm=False)
        return features

    def predict(self, context: Tensor, masks: Masks) -> Tensor:
        """Predicted features (B, M, Kt, D) of the target tokens."""
        assert isinstance(masks, PointMasks)
        assert masks.centers is not None
        predictions: Tensor = self.predictor(context, masks.context, masks.targets, masks.centers)
        return predictions

    def momentum(self, step: int) -> float:
        """The teacher's momentum after optimiser step ``step``; the first two copy the student."""
        return 0.0 if step < _COPIES else super().momentum(step)

    def configure_callbacks(self) -> Sequence[Callback]:
        """The average of the blocks alone."""
        return [EMATeacher(self.momentum, "encoder.transformer", "teacher")]

    def configure_optimizers(self) -> Optimizer:
        """One group: everything is decayed."""
        parameters = [p for module in self.trainable() for p in module.parameters() if p.requires_grad]
        groups = [{"params": parameters, "decays": True}]
        return self.optim.build(groups, clips=bool(self.trainer.gradient_clip_val))

    def draw(self, sample: Mapping[str, Any], masks: Masks | None, grid: tuple[int, ...]) -> list[Any]:
        """Pictures of a cloud for the report: its patches, the visible ones, those to be predicted."""
        cloud = sample["x"].detach().float()
        centers = self.encoder.cut(cloud[None].to(self.device)).centers[0].cpu()
        return draw_masked_cloud(cloud.cpu(), centers, masks)

    def _start(self, batch: dict[str, Any]) -> Tensor | None:
        """First points of the farthest-point sampling: random in training, point 0 otherwise."""
        if not self.training:
            return None
        size = batch["x"].shape[1]
        return random.randint(self.sample_keys(batch, "sampling"), 1, size)[:, 0].to(batch["x"].device)

    @contextlib.contextmanager
    def _noise(self) -> Iterator[None]:
        """Dropout from a key: torch's generators, the device's too, are seeded, and restored afterwards."""
        if not (self.training and self.draws_noise):
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        key = random.key(self.step_key("dropout"), "rank", distributed.rank())
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(key & (2**63 - 1))
            yield

# SPDX-License-Identifier: Apache-2.0
r"""CNN-JEPA: the joint-embedding predictive objective for convolutional networks.

Kalapos and Gyires-Toth, "CNN-JEPA: Self-Supervised Pretraining Convolutional Neural Networks Using Joint
Embedding Predictive Architecture", 2024 (arXiv 2408.07514). Tokens are the cells of the network's last
feature map. With the visible cells :math:`V`, the target cells :math:`T`, the network restricted to visible
cells :math:`f_\theta^V` (:mod:`conjoin.vision.encoders.masked_layers`), its average :math:`f_{\bar\theta}` on
the whole image, a mask token and a predictor of separable convolutions :math:`g_\phi`,

.. math::
    h = f_{\bar\theta}(x), \quad \hat h = g_\phi\bigl(\mathrm{fill}(f_\theta^V(x))\bigr), \quad
    L = \operatorname{mean}_{j \in T} \sum_c \mathrm{smooth}_1\Bigl(
        \frac{\hat h_j}{\lVert \hat h_j \rVert} - \frac{h_j}{\lVert h_j \rVert}\Bigr)_c .

Two more things differ from I-JEPA. The teacher's batch norms work as in training, on the whole images, with
running statistics of their own that evaluation then uses. And its momentum is constant within an epoch.

Beside the released code (kaland313/CNN-JEPA, commit f1b8135): batch statistics are those of all ranks by
default (``sync_batch_norm=False`` for each rank its own, as released), and so is the number of target cells
in the loss.
"""

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback
from timm.models.convnext import ConvNeXt
from torch.optim import Optimizer

from conjoin.core import random
from conjoin.core.callbacks.ema import EMATeacher
from conjoin.core.masking import MaskSampler
from conjoin.core.methods import JEPA
from conjoin.core.optim import CosineMomentum, Optim
from conjoin.vision.encoders.sparse_cnn import SparseCNN
from conjoin.vision.masking import MixedMask
from conjoin.vision.objective import UnitSmoothL1
from conjoin.vision.predictor import SeparablePredictor

__all__ = ("CNNJEPA",)


class CNNJEPA(JEPA):
    """The joint-embedding predictive architecture on feature maps.

    Args:
        encoder: Name of a ResNet or ConvNeXt of timm.
        image_size: Height and width of the images in pixels, or one number; multiples of the network's
            stride.
        in_channels: Channels of the images.
        encoder_options: Further arguments of ``timm.create_model``, such as ``output_stride`` or
            ``channels``.
        predictor_depth: Separable layers of the predictor.
        predictor_kernel: Side of their depthwise kernels.
        masks: What is visible and what is to be predicted; None for ``MixedMask()``.
        ema: Teacher momentum in the first and in the last epoch, a cosine in between.
        sync_batch_norm: Whether batch norms use the statistics of all ranks.
        optim: Optimiser and schedules; weight decay is for all parameters. None for the paper's, without
            warm-up.
        seed: Of the initial weights and all draws; None for the run's.

    Raises:
        ValueError: If there is no such network, or sizes do not fit each other.
    """

    encoder: SparseCNN

    def __init__(
        self,
        encoder: str = "resnet50",
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        *,
        encoder_options: dict[str, Any] | None = None,
        predictor_depth: int = 3,
        predictor_kernel: int = 3,
        masks: MaskSampler | None = None,
        ema: tuple[float, float] = (0.996, 1.0),
        sync_batch_norm: bool = True,
        optim: Optim | None = None,
        seed: int | None = None,
    ) -> None:
        seed = random.default_seed() if seed is None else seed
        with random.seeded(random.key(seed, "init")):
            backbone = SparseCNN(
                encoder, image_size, in_channels, options=encoder_options, sync_batch_norm=sync_batch_norm
            )
            predictor = SeparablePredictor(
                backbone.embed_dim,
                backbone.grid,
                predictor_depth,
                predictor_kernel,
                norm="layer" if isinstance(backbone.model, ConvNeXt) else "batch",
                sync_batch_norm=sync_batch_norm,
            )
        super().__init__(
            backbone,
            predictor,
            masks or MixedMask(),
            objective=UnitSmoothL1(),
            ema=ema,
            optim=optim
            or Optim(lr=0.01, start_lr=0.0, final_lr=1e-5, weight_decay=0.01, final_weight_decay=None),
            seed=seed,
        )

    def momentum(self, step: int) -> float:
        """The teacher's momentum after optimiser step ``step``: that of the epoch in which the next one lies.

        The release averages before each step instead of after it, by the momentum of that step's epoch.
        """
        total, per_epoch = self.horizon()
        last = math.ceil(total / per_epoch) - 1
        if last == 0:
            return self.ema[0]
        return CosineMomentum(self.ema[0], last, self.ema[1])(min((step + 1) // per_epoch, last))

    def configure_callbacks(self) -> Sequence[Callback]:
        """The average of the weights alone: the teacher's running statistics are its own."""
        return [EMATeacher(self.momentum, buffers="keep")]

    def configure_optimizers(self) -> Optimizer:
        """One group: norms and biases are decayed too."""
        parameters = [p for module in self.trainable() for p in module.parameters() if p.requires_grad]
        return self.optim.build(
            [{"params": parameters, "decays": True}], clips=bool(self.trainer.gradient_clip_val)
        )

    def train(self, mode: bool = True) -> "CNNJEPA":
        """Switch to training mode, the teacher's batch norms included."""
        super().train(mode)
        self.teacher.train(mode)
        return self

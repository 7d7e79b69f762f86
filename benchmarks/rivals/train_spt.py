# SPDX-License-Identifier: Apache-2.0
"""stable-pretraining's I-JEPA, trained by Lightning with its teacher callback, as its documentation shows.

Needs an environment of its own: the package adds callbacks to every Trainer of the environment. They are left
in. Own settings: a timm vision transformer with learned positions and timm's initialisation, rescaled by
depth; targets of .15 to .2 of the picture that do not overlap and are the same for the whole batch, predicted
together; momentum .996 to 1 along a cosine that moves once per epoch; a predictor with one head per 64
channels.
"""

import argparse
import os
import tempfile
from pathlib import Path

import torch
from data import IMAGE_SIZE, Batches
from lightning.pytorch import LightningModule, Trainer
from shared import SharedOptimiser, arguments, peak_mib, save
from torch import Tensor
from torch.optim import Optimizer


def main() -> None:
    """Send what the library writes to a temporary folder."""
    args = arguments(__doc__).parse_args()
    args.out = args.out.resolve()
    here = Path.cwd()
    # The library's callbacks write into its cache and into the working folder.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SPT_CACHE_DIR"] = folder
        os.chdir(folder)
        try:
            train(args)
        finally:
            os.chdir(here)


def train(args: argparse.Namespace) -> None:
    """Train, embed, save, in the current folder."""
    import timm
    from stable_pretraining.callbacks import TeacherStudentCallback
    from stable_pretraining.methods import IJEPA

    torch.manual_seed(args.seed)
    # The library takes a name or a ready network; a name alone cannot say gray pictures of 64 x 64.
    network = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=IMAGE_SIZE,
        patch_size=args.patch,
        in_chans=1,
        embed_dim=args.width,
        depth=args.depth,
        num_heads=args.heads,
        num_classes=0,
    )
    momentum = {} if args.ema is None else {"ema_decay_start": args.ema[0], "ema_decay_end": args.ema[1]}

    class System(LightningModule):
        """The documented wrapper; the optimiser is the one that all contestants share."""

        def __init__(self) -> None:
            super().__init__()
            self.model = IJEPA(
                network,
                predictor_embed_dim=args.predictor_width,
                predictor_depth=args.predictor_depth,
                **momentum,
            )

        def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
            """The library's loss."""
            loss: Tensor = self.model(batch["x"]).loss
            return loss

        def configure_optimizers(self) -> Optimizer:
            """The shared optimiser over student and predictor."""
            self.shared = SharedOptimiser(args, [self.model])
            return self.shared.optimizer

        def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
            """The shared schedules."""
            self.shared.set(self.trainer.global_step)

    system = System()
    batches = Batches(args)
    before = peak_mib()
    if args.steps:
        trainer = Trainer(
            accelerator="cpu",
            # Both: without max_epochs its momentum would jump between .996 and 1.
            max_epochs=batches.epochs,
            max_steps=args.steps,
            callbacks=[TeacherStudentCallback()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(system, train_dataloaders=batches)
        assert trainer.global_step == args.steps
    teacher = system.model.encoder.teacher.eval()
    skip = teacher.num_prefix_tokens

    def embed(x: Tensor) -> Tensor:
        # Without the class token, which pre-training never sees: patches alone, as in its own training step.
        tokens = teacher.patch_embed(x) + teacher.vit.pos_embed[:, skip:]
        pooled: Tensor = teacher.vit.norm(teacher.vit.blocks(tokens)).mean(dim=1)
        return pooled

    save(
        args,
        "stable-pretraining",
        embed,
        batches=batches,
        before_mib=before,
        distributions=("stable-pretraining", "lightning", "timm"),
    )


if __name__ == "__main__":
    main()

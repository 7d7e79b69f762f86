# SPDX-License-Identifier: Apache-2.0
"""conjoin's I-JEPA with the settings of the recipe ijepa-small, trained by Lightning.

Own settings, from the recipe: initialisation, mask sampler, teacher momentum, heads of the predictor.
"""

import dataclasses
from typing import Any

from data import IMAGE_SIZE, Batches
from lightning.pytorch import Trainer
from shared import arguments, peak_mib, recipe, save

from conjoin.core.optim import Optim
from conjoin.core.spec import build
from conjoin.vision import IJEPA


def main() -> None:
    """Train, embed, save."""
    args = arguments(__doc__).parse_args()
    own: dict[str, Any] = recipe()["model"]["init_args"]
    if "masks" in own:
        own["masks"] = build(own["masks"])
    optim = Optim(**own["optim"])
    shared: dict[str, Any] = {
        "image_size": IMAGE_SIZE,
        "in_channels": 1,
        "patch_size": args.patch,
        "encoder_dim": args.width,
        "encoder_depth": args.depth,
        "encoder_heads": args.heads,
        "predictor_dim": args.predictor_width,
        "predictor_depth": args.predictor_depth,
        "ema": tuple(args.ema or own.get("ema", (0.996, 1.0))),
        "optim": dataclasses.replace(optim, lr=args.lr),
        "seed": args.seed,
    }
    model = IJEPA(**{**own, **shared})
    batches = Batches(args)
    before = peak_mib()
    if args.steps:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=batches.epochs,
            max_steps=args.steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, train_dataloaders=batches)
        assert trainer.global_step == args.steps
    save(
        args,
        "conjoin",
        lambda x: model.embed({"x": x}),
        batches=batches,
        before_mib=before,
        distributions=("conjoin", "lightning"),
    )


if __name__ == "__main__":
    main()

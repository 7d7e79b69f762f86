# SPDX-License-Identifier: Apache-2.0
"""lightly's I-JEPA from its building blocks, in the plain loop of its published example.

Own settings: a masked timm vision transformer with fixed sine-cosine positions and Xavier weights, the
predictor IJEPAPredictorTIMM with the encoder's number of heads, IJEPAMaskCollator, momentum .996 to 1,
linear, moved every step. The library's tutorial
leaves the mask constants at the collator's defaults (two targets of .2 to .8 of the picture, context of .2
to .8), which are not the paper's; ``--masks paper`` gives it those (four of .15 to .2, context of .85 to 1).
"""

import copy

import torch
import torch.nn.functional as F
from data import IMAGE_SIZE, Batches
from shared import SharedOptimiser, arguments, peak_mib, save
from torch import Tensor, nn

PAPER = {
    "enc_mask_scale": (0.85, 1.0),
    "pred_mask_scale": (0.15, 0.2),
    "aspect_ratio": (0.75, 1.5),
    "npred": 4,
}


def main() -> None:
    """Train, embed, save."""
    parser = arguments(__doc__)
    parser.add_argument("--masks", choices=("library", "paper"), default="library")
    args = parser.parse_args()
    import timm
    from lightly.data import IJEPAMaskCollator
    from lightly.models import utils
    from lightly.models.modules import IJEPAPredictorTIMM, MaskedVisionTransformerTIMM

    torch.manual_seed(args.seed)
    # No class token: the collator's indices are those of the patches.
    network = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=IMAGE_SIZE,
        patch_size=args.patch,
        in_chans=1,
        embed_dim=args.width,
        depth=args.depth,
        num_heads=args.heads,
        num_classes=0,
        class_token=False,
        global_pool="avg",
    )
    encoder = MaskedVisionTransformerTIMM(network)
    predictor = IJEPAPredictorTIMM(
        num_patches=(IMAGE_SIZE // args.patch) ** 2,
        depth=args.predictor_depth,
        mlp_dim=args.width,
        predictor_embed_dim=args.predictor_width,
        num_heads=args.heads,
    )
    teacher = copy.deepcopy(encoder).requires_grad_(False).eval()
    collator = IJEPAMaskCollator(
        input_size=(IMAGE_SIZE, IMAGE_SIZE),
        patch_size=args.patch,
        **(PAPER if args.masks == "paper" else {}),
    )
    criterion = nn.SmoothL1Loss()
    first, last = args.ema or (0.996, 1.0)
    batches = Batches(args)
    before = peak_mib()
    if args.steps:
        shared = SharedOptimiser(args, [encoder, predictor])
        step = 0
        for _ in range(batches.epochs):
            for batch in batches:
                # The library draws masks while it collates single pictures.
                x, contexts, targets = collator(list(batch["x"]))
                with torch.no_grad():
                    wanted = F.layer_norm(teacher.encode(x), (args.width,))
                    wanted = utils.apply_masks(wanted, targets)
                    wanted = utils.repeat_interleave_batch(wanted, len(x), repeat=len(contexts))
                seen = torch.cat([encoder.encode(x, idx_keep=context) for context in contexts])
                loss = criterion(predictor(seen, contexts, targets), wanted)
                loss.backward()
                shared.set(step)
                shared.optimizer.step()
                shared.optimizer.zero_grad()
                with torch.no_grad():
                    m = first + (last - first) * step / args.steps
                    for q, k in zip(encoder.parameters(), teacher.parameters(), strict=True):
                        k.mul_(m).add_((1 - m) * q)
                step += 1
        assert step == args.steps

    def embed(x: Tensor) -> Tensor:
        pooled: Tensor = teacher.encode(x).mean(dim=1)
        return pooled

    save(
        args,
        "lightly" if args.masks == "library" else "lightly, the paper's masks",
        embed,
        batches=batches,
        before_mib=before,
        distributions=("lightly", "timm"),
    )


if __name__ == "__main__":
    main()

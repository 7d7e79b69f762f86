# SPDX-License-Identifier: Apache-2.0
"""Features of a folder of images: ``python embed_images.py last.ckpt images/ features.npz``."""

import sys

import numpy as np
import torch

from conjoin.core.checkpoint import load_model
from conjoin.vision import ImageFolder, ViT


def main(checkpoint: str, folder: str, out: str) -> None:
    """The checkpoint says how to build its model, the model which pictures it takes."""
    model = load_model(checkpoint)
    assert isinstance(model.representation, ViT)
    patches = model.representation.patch_embed
    data = ImageFolder(folder, patches.image_size[0], patches.in_channels, val_fraction=0, test_fraction=0)
    batches = data.evaluation_dataloader("train")  # nothing held out, no augmentation: every picture in order
    features = torch.cat([model.embed(batch) for batch in batches])
    np.savez(out, features=features.numpy())
    print(f"{out}: {len(features)} images, {features.shape[1]} features each")


if __name__ == "__main__":
    main(*sys.argv[1:])

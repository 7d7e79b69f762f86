# SPDX-License-Identifier: Apache-2.0
"""Outputs of the official encoder and predictor (facebookresearch/ijepa, commit 52c1ae9), recorded on
weights and images that are a function of their names, so that neither its code nor a file is needed here."""

import pytest
import torch

from conjoin.core import random
from conjoin.core.nn import Predictor
from conjoin.vision.encoders import build_vit

CASES = {
    "tiny": ("vit_tiny", 64, 16, 2, 96, 2),
    "small": ("vit_small", 224, 16, 1, 384, 2),
}
# Of the full encoder, the masked encoder and the predictor: sum of absolute values, then three entries.
GOLDEN = {
    "tiny": [
        [0.7981735, -1.643447, -1.236162, 0.5111516],
        [0.790803, -1.535287, -0.736818, -0.7727079],
        [0.3802142, 0.4920098, 0.4936253, 0.01177057],
    ],
    "small": [
        [0.7992986, -0.535929, 0.2783271, -1.098649],
        [0.800463, -0.2769577, -2.842865, -1.331082],
        [0.7197458, 0.139514, 0.09159695, -0.3987797],
    ],
}


def numbers(name, shape):
    size = torch.Size(shape).numel()
    return (random.uniform(torch.tensor(random.key(0, name)), size) * 2 - 1).view(shape).float()


@torch.no_grad()
def fill(module):
    for name, tensor in module.state_dict().items():
        if not name.endswith("pos_embed"):
            scale, shift = (0.1, 1.0) if "norm" in name and name.endswith("weight") else (0.08, 0.0)
            tensor.copy_(numbers(name, tensor.shape) * scale + shift)
    return module


def inputs(image, patch, batch):
    cells = (image // patch) ** 2
    order = random.permutation(random.fold(7, torch.arange(batch)), cells)
    context = order[:, : cells // 3].sort()[0]
    targets = torch.stack([order[:, i::7][:, : cells // 8].sort()[0] for i in range(4)], dim=1)
    return numbers("image", (batch, 3, image, image)), context, targets


def summary(x):
    flat = x.flatten()
    return [x.abs().mean().item(), flat[0].item(), flat[len(flat) // 2].item(), flat[-1].item()]


@pytest.mark.parametrize("case", CASES)
def test_equals_the_official_outputs(case):
    name, image, patch, batch, width, depth = CASES[case]
    encoder = fill(build_vit(name, image_size=image, patch_size=patch))
    predictor = fill(Predictor(encoder.embed_dim, encoder.grid, width, depth, encoder.heads))
    x, context, targets = inputs(image, patch, batch)
    with torch.no_grad():
        full, masked = encoder(x), encoder(x, context)
        outputs = full, masked, predictor(masked, context, targets)
    for output, golden in zip(outputs, GOLDEN[case], strict=True):
        assert summary(output) == pytest.approx(golden, abs=1e-5)

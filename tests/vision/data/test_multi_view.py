# SPDX-License-Identifier: Apache-2.0
"""Views of pictures: their sizes are kept, they are normalised like the pictures, evaluation is as before."""

import torch

from conjoin.vision import Fashion, MultiViewImages
from conjoin.vision.transforms import SwAVViews


def batches(channels):
    data = MultiViewImages(Fashion(28, channels, batch_size=4, seed=0), SwAVViews(24, 12, 2, small=True))
    train = data.batch_transform(next(iter(data.train_dataloader())), True)
    val = data.batch_transform(next(iter(data.val_dataloader())), False)
    return data, train, val


def test_views_keep_their_sizes_and_are_normalised():
    for channels in (1, 3):
        _, train, val = batches(channels)
        for batch in (train, val):
            shapes = [tuple(view.shape) for view in batch["views"]]
            assert shapes == 2 * [(4, channels, 24, 24)] + 2 * [(4, channels, 12, 12)]
            for view in batch["views"]:
                assert view.dtype == torch.float32
                # The black background of Fashion: -mean / std.
                assert abs(view.min().item() + 0.286 / 0.353) < 1e-5


def test_evaluation_is_unchanged():
    data, _, val = batches(1)
    assert val["x"].shape == (4, 1, 28, 28)
    plain = next(iter(Fashion(28, 1, batch_size=4, seed=0).evaluation_dataloader("val")))
    assert torch.equal(val["x"], plain["x"])
    assert data.image_size == 28

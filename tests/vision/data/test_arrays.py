# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from conjoin.vision.data.arrays import ArrayDataset, subset


def test_items_hold_all_fields_of_their_position():
    x = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
    data = ArrayDataset(x, torch.tensor([4, 5, 6]), caption=["a", "b", "c"])
    assert len(data) == 3
    assert data[1] == {"x": x[1], "label": torch.tensor(5), "caption": "b"}


def test_subset_copies_read_only_arrays():
    images = np.arange(8, dtype=np.uint8).reshape(4, 1, 1, 2)
    images.setflags(write=False)
    data = subset(images, np.array([3, 2, 1, 0], np.uint8), np.array([2, 0]))
    assert data.x.flatten().tolist() == [4, 5, 0, 1]
    assert data.label.tolist() == [1, 3]
    assert data.label.dtype == torch.int64
    data.x.zero_()
    assert images[2].tolist() == [[[4, 5]]]
    assert len(subset(images, np.zeros(4))) == 4

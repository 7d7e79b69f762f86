# SPDX-License-Identifier: Apache-2.0
"""K-means finds blobs, ends in a fixed point and repeats itself."""

import pytest
import torch

from conjoin.core.metrics import kmeans


def blobs(count: int = 5, each: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(count).repeat_interleave(each)
    centre = 20 * torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return centre[label] + torch.randn(count * each, 3, dtype=torch.float64, generator=generator), label


def test_finds_blobs() -> None:
    x, truth = blobs()
    found = kmeans(x, 5)
    same = found.unsqueeze(1) == found
    assert torch.equal(same, truth.unsqueeze(1) == truth)


def test_ends_where_each_row_is_nearest_to_its_own_mean() -> None:
    x = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    label = kmeans(x, 7)
    means = torch.stack([x[label == cluster].mean(0) for cluster in range(7)])
    assert torch.equal(torch.cdist(x, means).argmin(1), label)


def test_same_key_same_clusters() -> None:
    x = torch.randn(80, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(kmeans(x, 9, key=3), kmeans(x, 9, key=3))
    assert not torch.equal(kmeans(x, 9, key=3), kmeans(x, 9, key=4))


def test_fewer_different_rows_than_clusters() -> None:
    x = torch.tensor([[0.0], [1.0]]).repeat(6, 1)
    label = kmeans(x, 5)
    assert len(label.unique()) == 2
    assert torch.equal(label, label[:2].repeat(6))


def test_guards() -> None:
    for clusters in (0, 4):
        with pytest.raises(ValueError, match=rf"lie in \[1, 3\], the number of rows, got {clusters}"):
            kmeans(torch.zeros(3, 2), clusters)
